"""The reader in a web page: an ES module, built by `make web`; README.md has its interface."""
