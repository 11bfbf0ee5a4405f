"""`python -m codec` is `vqcodec`."""

from codec.cli import main

main()
