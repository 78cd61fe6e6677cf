"""The shell: options in, words out."""
