"""Where trials run: this process, or a Ray cluster. Only this folder imports ray."""
