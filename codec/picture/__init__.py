"""Pictures: files and Pillow images to samples and back. No torch here.

reading    picture files: formats, frames, depth, limits; upright
sources    what files hold beside pixels, a module for each format
pixels     Pillow images and arrays as samples, box by box
colour     colour management, so that samples mean what the file will say
profile    ICC profiles for primaries and transfer functions
alpha      the alpha plane, lossless; colours under full transparency
patch      rectangles of pixels, lossless
rendering  samples to 8 bits                reduction  means over squares
metadata   profile, EXIF and XMP, opaque    formats   names of formats
exif, xmp  the few bytes in them that must fit the stored picture
refusals   errors of what is not read       writing   files that `decompress` writes
"""
