"""The commands of the command line; `tunecnn.cli` puts them together."""
