"""The space file, and what it allows."""
