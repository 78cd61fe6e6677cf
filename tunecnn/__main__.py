"""`python -m tunecnn` is `tunecnn`."""

from tunecnn.cli import main

main()
