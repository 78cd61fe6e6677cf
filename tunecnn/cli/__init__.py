"""The command line: reads options, and prints results."""
