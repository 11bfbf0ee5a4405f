"""Measuring the real thing: bytes of real files, pictures decoded from them.

rate_distortion   files, bits and PSNR of pictures at given qualities
codebooks         rate, PSNR and usage of vector-quantised models, level by level
theory            both sides of the statements of the theory
bd_rate           Bjontegaard difference against peers (peers.json: Kodak means)
"""
