"""Errors of pictures that cannot be read, or not without loss that nobody asked for."""

from __future__ import annotations

import struct

from codec.errors import InputError

_CUT = ("truncat", "not identified", "no marker found", "broken png", "decoder object")
"""Words in messages of decoders that a truncated file leads to."""


def check_depth(bits: int, to_8bit: bool) -> None:
    """Refuse samples of more than 8 bits that may not be cut.

    Raises:
        InputError: there are more, and `to_8bit` does not allow it.
    """
    if bits > 8 and not to_8bit:
        raise InputError(
            f"pictures of more than 8 bits per sample (here {bits}) are not supported; "
            "convert to 8 bits, or have them cut with to_8bit",
            field="to_8bit",
        )


def decoding_error(error: Exception, name: str) -> InputError:
    """The error that stands for an exception of a decoder.

    Args:
        error: of whatever type a broken file leads to.
        name: of the format, or "picture".
    """
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(f"cannot be read: {error.strerror}")
    text = " ".join(str(error).split())
    if isinstance(error, EOFError | struct.error) or any(w in text.lower() for w in _CUT):
        return InputError(f"truncated or damaged {name} file")
    if isinstance(error, OSError | SyntaxError) and any(map(str.isalpha, text)):
        return InputError(f"damaged {name} file, or of a kind that is not supported ({text})")
    return InputError(f"damaged {name} file")  # other messages are of the decoder's own workings
