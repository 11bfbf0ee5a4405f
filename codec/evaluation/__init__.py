"""Measuring the real thing: bytes of real files, pictures decoded from them.

rate_distortion   files, bits and PSNR of pictures at given qualities
bd_rate           Bjontegaard difference against peers (peers.json: Kodak means)
"""
