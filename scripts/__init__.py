"""Programs for those who work on the project; `make help` lists them."""
