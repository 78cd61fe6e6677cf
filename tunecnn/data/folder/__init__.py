"""The user's own images as files: a folder or an archive, decoded once into a cache."""
