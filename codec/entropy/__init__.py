"""Entropy coding: symbols <-> bytes in exact arithmetic, as FORMAT.md specifies. No torch here.

dyadic        layers whose float64 arithmetic is exact on every machine
exact_prior   the prior of integer latents: z and coded passes in, means and table numbers out
index_prior   the prior of centre indices: coded indices in, integer frequencies out
z_contexts    coding order of z, and which table each of its symbols is coded with
tables        integer frequency tables
codebook      centres: nearest-centre assignment and look-up
range_coder   the only importer of constriction
latents       rounding to integers: (y, z) -> symbols -> stream, and back
indices       rounding to centres: the same interface
checksum      CRC-32 of decoded symbols
"""
