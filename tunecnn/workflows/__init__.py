"""Complete workflows: search, confirm, reproduce, plan, evaluate, repair."""
