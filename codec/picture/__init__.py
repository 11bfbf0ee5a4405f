"""Pictures: files and Pillow images to samples and back. No torch here.

reading    picture files: formats, frames, depth, limits
pixels     Pillow images and arrays as samples, box by box
colour     colour management, so that samples mean what the file will say
alpha      the alpha plane, lossless; colours under full transparency
metadata   profile, EXIF and XMP, opaque    formats   names of formats
writing    picture files that `decompress` writes
"""
