"""Weights files: their configuration, tensors and id, and where released ones are found.

An installed package keeps the released weights files in this folder too.
"""
