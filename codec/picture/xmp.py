"""XMP: XML about a picture. What it says of the rest of its file must stay true of ours."""

from __future__ import annotations

import re

_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[0-9](?![0-9])")
_UNTRUE = {
    b"http://ns.adobe.com/hdr-gain-map/1.0/": rb"\w+",
    b"http://ns.apple.com/HDRGainMap/1.0/": rb"\w+",
    b"http://ns.google.com/photos/1.0/container/": rb"\w+",
    b"http://ns.google.com/photos/1.0/camera/": rb"(?:MotionPhoto|MicroVideo)\w*",
}
"""Names, by their namespace, of properties that tell of a gain map, or of pictures and videos that
follow the first picture: none of these is kept."""
_GAIN_MAP = (b"http://ns.adobe.com/hdr-gain-map/1.0/", b"http://ns.apple.com/HDRGainMap/1.0/")
_VIDEO = re.compile(rb"(?:MotionPhoto|MicroVideo)\s*(?:=\s*[\"']|>)\s*1")


def settled_xmp(xmp: bytes) -> bytes:
    """The same XMP for a picture that is stored upright and alone in its file.

    The orientation is 1, and properties of gain maps and of pictures or videos that followed are
    taken out. All else is as it was.
    """
    xmp = _ORIENTATION.sub(rb"\g<1>1", xmp)
    for namespace, names in _UNTRUE.items():
        for prefix in _prefixes(xmp, namespace):
            name = re.escape(prefix) + b":" + names
            xmp = re.sub(rb"\s+" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
            xmp = re.sub(rb"<" + name + rb"(?:\s[^<>]*)?/>\s*", b"", xmp)
            xmp = re.sub(rb"<(" + name + rb")(?:\s[^<>]*)?>.*?</\1\s*>\s*", b"", xmp, flags=re.S)
    return xmp


def tells_of_gain_map(xmp: bytes) -> bool:
    """Whether a property of it is of a gain map."""
    prefixes = [prefix for namespace in _GAIN_MAP for prefix in _prefixes(xmp, namespace)]
    return any(re.search(re.escape(prefix) + rb":\w+\s*[=>]", xmp) for prefix in prefixes)


def tells_of_video(xmp: bytes) -> bool:
    """Tell whether XMP declares the picture a frame of a video in the same file."""
    return bool(_VIDEO.search(xmp))


def _prefixes(xmp: bytes, namespace: bytes) -> set[bytes]:
    return set(re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(namespace) + rb"[\"']", xmp))
