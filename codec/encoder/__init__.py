"""The writer: a picture's tiles to symbols, at one rate or at the rate that meets a target."""
