"""Programs for developers; scripts/README.md lists them."""
