"""Readers of the metadata of picture files.

Pillow tells of most of it, which `pillow` collects; a module for each format finds the rest, and
names what the coded file will not have.

extras   what is found           png, jpeg, tiff, avif, bmp, gif   one format each
av1      header of the stream in an AVIF file
"""
