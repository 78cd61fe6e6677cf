"""`python -m tunecnn` is `tunecnn`."""

from tunecnn.cli.app import main

main()
