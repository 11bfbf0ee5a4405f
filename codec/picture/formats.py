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
"""Suffixes of the files that a search of folders takes for pictures."""

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
"""Pillow formats that `decompress` writes, by suffix; all but JPEG are lossless."""

GREY_SUFFIX = ".pgm"
"""The suffix of `OUTPUT_SUFFIXES` that holds grey pictures only."""

OUTPUT_NAMES = {
    "png": ".png",
    "webp": ".webp",
    "tiff": ".tiff",
    "bmp": ".bmp",
    "ppm": ".ppm",
    "jpeg": ".jpg",
}
"""The suffix that goes with each name of a format."""
