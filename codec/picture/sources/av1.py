"""AV1: what the header of a stream says of colours (AV1 bitstream, section 5.5)."""

from __future__ import annotations

SEQUENCE_HEADER = 1
"""Type of the unit that begins a stream, or follows a delimiter."""
_UNITS = 3
"""Units of a stream that are looked at."""


class _Bits:
    """Bits of bytes, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """A number of some bits.

        Raises:
            ValueError: there are no more.
        """
        self._left -= count
        if self._left < 0:
            raise ValueError("a header ends early")
        return self._value >> self._left & (1 << count) - 1


def code_points(stream: bytes) -> tuple[int, int] | None:
    """Code points of primaries and transfer function, of H.273; None if the stream has none.

    Raises:
        ValueError: it is damaged.
    """
    at = 0
    for _ in range(_UNITS):
        if at >= len(stream):
            break
        head, at = stream[at], at + 1
        at += head >> 2 & 1  # its extension
        if not head & 2:  # no length: the last unit
            return None
        length = shift = 0
        while True:
            byte, at = stream[at : at + 1], at + 1
            if not byte or shift > 28:
                raise ValueError("a unit without a length")
            length |= (byte[0] & 127) << shift
            shift += 7
            if byte[0] < 128:
                break
        if head >> 3 & 15 == SEQUENCE_HEADER:
            return _of_header(_Bits(stream[at : at + length]))
        at += length
    return None


def _of_header(bits: _Bits) -> tuple[int, int] | None:
    """Code points of a sequence header; streams with the times of a video have none here."""
    take = bits.take
    profile, _, reduced = take(3), take(1), take(1)
    if reduced:
        take(5)
    else:
        if take(1):  # times
            return None
        delays = take(1)
        for _ in range(take(5) + 1):  # operating points
            take(12)
            if take(5) > 7:
                take(1)
            if delays and take(1):
                take(4)
    width, height = take(4) + 1, take(4) + 1
    take(width + height)
    if not reduced and take(1):  # numbers of frames
        take(7)
    take(3)
    if not reduced:
        take(4)
        ordered = take(1)
        take(2 * ordered)
        if (take(1) or take(1)) and not take(1):  # tools for screens; whole steps of motion
            take(1)
        take(3 * ordered)
    take(3)
    deep = take(1)
    if profile == 2 and deep:
        take(1)
    if profile != 1:
        take(1)  # grey
    return (take(8), take(8)) if take(1) else None
