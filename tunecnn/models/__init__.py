"""The networks and their designs."""
