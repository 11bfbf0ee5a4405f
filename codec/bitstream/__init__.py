"""Bits and bytes: the range coder, latents as bytes, and the file around them.

range_coder   the only importer of constriction
latents       rounded latents <-> bytes, driven by the exact prior
indices       indices of centres <-> bytes, likewise
checksum      CRC-32 of decoded symbols
container     header, checksums and limits of a .vqc file (see FORMAT.md)
"""
