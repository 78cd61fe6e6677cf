"""Listeners that are called during a run."""
