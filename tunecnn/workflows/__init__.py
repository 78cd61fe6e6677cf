"""Whole jobs, one module each: see docs/structure.md."""
