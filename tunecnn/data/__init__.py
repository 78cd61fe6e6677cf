"""Data sets: download, reading and splitting of images."""
