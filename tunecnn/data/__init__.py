"""Images: found, read, split."""
