"""Names of picture formats, known without loading Pillow."""

from __future__ import annotations

INPUT_SUFFIXES = frozenset(
    {
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".jif",
        ".mpo",
        ".webp",
        ".avif",
        ".avifs",
        ".tif",
        ".tiff",
        ".gif",
        ".bmp",
        ".dib",
        ".pbm",
        ".pgm",
        ".ppm",
        ".pnm",
        ".qoi",
    }
)
"""What counts as a picture when a folder is searched."""

OUTPUT_SUFFIXES = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pnm": "PPM",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
}
"""What `decompress` writes, by suffix; all but JPEG are lossless."""

GREY_SUFFIX = ".pgm"
"""Of `OUTPUT_SUFFIXES`, the one that says what kind of picture it holds."""

OUTPUT_NAMES = {
    "png": ".png",
    "webp": ".webp",
    "tiff": ".tiff",
    "bmp": ".bmp",
    "ppm": ".ppm",
    "jpeg": ".jpg",
}
"""The suffix that goes with each name of a format."""
