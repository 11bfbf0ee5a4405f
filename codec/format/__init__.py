"""The .vqc container: bytes <-> fields, with checksums and limits, as FORMAT.md specifies.

header        size, level, model and kind of a picture: what every file begins with
patch_table   where patches lie, and what no file has
directory     lengths and checksums of metadata, patches and tiles
writing       parts -> bytes
container     a file open for reading -> parts

A plain file (one tile, no alpha, no metadata, no patches) is a header, a stream and two checksums.
Any other has a directory behind the header, which says where each part lies, so that a reader
takes only what it needs and verifies all that it takes.

Imports neither torch nor numpy nor the coder: `info` reads a file with nothing else.
"""
