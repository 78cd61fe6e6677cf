"""The search space: its file, keys and checks."""
