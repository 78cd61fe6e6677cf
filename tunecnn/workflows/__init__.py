"""Jobs from beginning to end: search, confirm, reproduce, plan, evaluate, repair."""
