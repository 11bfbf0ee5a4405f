"""Entropy coding: symbols <-> bytes in exact arithmetic, as FORMAT.md specifies. No torch here.

graph         the layers of both priors as data, which the float twins of `codec.model` read too
dyadic        layers whose float64 arithmetic is exact on every machine
exact_prior   the prior of latents: z and coded passes in, means and table numbers out
index_prior   the prior of indices: coded indices in, integer frequencies out
z_contexts    coding order of z, and which table each of its symbols is coded with
tables        integer frequency tables
codebook      centres: nearest-centre assignment and look-up
model         weights -> verified prior, tables and centres, with a digest of what they compute
range_coder   the only importer of constriction
rounding      what both roundings take and give
crew          threads that share one walk of an exact prior
latents       rounding to integers: (y, z) -> symbols -> stream, and back
indices       rounding to centres: the same
coder         the one interface to both, and `symbol_coder`, which picks
checksum      CRC-32 of decoded symbols
offsets       maps of levels: offsets of cells -> stream, and back
"""
