"""One configuration, trained once."""
