"""The part of the ONNX file format that our graphs need, written as protocol buffers.

A message is a sequence of fields, each a key (number of the field times 8, plus how its value is
stored) and a value: an integer in base 128, four bytes of a float, or a length and bytes. Numbers
of the fields are those of `onnx.proto`. Output is the same for the same graph, byte for byte.

Tensors stand outside of the model: the file has their names, types and shapes, and whoever loads
it gives ONNX Runtime the arrays.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

IR_VERSION = 8
OPSET = 17
FLOAT, INT64 = 1, 7
"""Types of tensors."""
EXTERNAL = 1
"""Location of a tensor's data."""
INTEGER, BYTES, FIXED32 = 0, 2, 5
"""How values are stored."""

Attribute = int | float | str | Sequence[int]
Shape = Sequence[int | str]
"""Sizes; a name where the size is known only when the graph is run."""


@dataclass(frozen=True)
class Node:
    """One operation."""

    operation: str
    inputs: Sequence[str]
    output: str
    attributes: Mapping[str, Attribute]


def model(
    name: str,
    nodes: Sequence[Node],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    tensors: Mapping[str, Shape],
    constants: Mapping[str, Sequence[float]],
    corners: Sequence[str] = (),
) -> bytes:
    """An ONNX model of one graph on float32 values.

    Args:
        name: of the graph.
        nodes: operations, each after those whose outputs it reads.
        inputs: shapes of what is given when the graph is run.
        outputs: likewise of what it gives.
        tensors: shapes of the float32 tensors that are given when the model is loaded.
        constants: float32 scalars (one value) that stand in the model.
        corners: inputs of four int64 values, which `Slice` reads.
    """
    graph = b"".join(_field(1, _node(node)) for node in nodes) + _field(2, name.encode())
    graph += b"".join(_field(5, _external(name, shape)) for name, shape in tensors.items())
    graph += b"".join(_field(5, _constant(name, values)) for name, values in constants.items())
    graph += b"".join(_field(11, _value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(_field(11, _value(name, (4,), INT64)) for name in corners)
    graph += b"".join(_field(12, _value(name, shape)) for name, shape in outputs.items())
    opset = _number(2, OPSET)
    return _number(1, IR_VERSION) + _field(2, b"vqcodec") + _field(7, graph) + _field(8, opset)


def _node(node: Node) -> bytes:
    message = b"".join(_field(1, name.encode()) for name in node.inputs)
    message += _field(2, node.output.encode()) + _field(3, node.output.encode())
    message += _field(4, node.operation.encode())
    for name, value in node.attributes.items():
        message += _field(5, _field(1, name.encode()) + _attribute(value))
    return message


def _attribute(value: Attribute) -> bytes:
    if isinstance(value, str):
        return _field(4, value.encode()) + _number(20, 3)
    if isinstance(value, int):
        return _number(3, value) + _number(20, 2)
    if isinstance(value, float):
        return _key(2, FIXED32) + struct.pack("<f", value) + _number(20, 1)
    return b"".join(_number(8, part) for part in value) + _number(20, 7)


def _external(name: str, shape: Shape) -> bytes:
    """A tensor without its data; its location names no file."""
    location = _field(1, b"location") + _field(2, b"given")
    return _tensor(name, shape) + _field(13, location) + _number(14, EXTERNAL)


def _constant(name: str, values: Sequence[float]) -> bytes:
    return _tensor(name, ()) + _field(9, struct.pack(f"<{len(values)}f", *values))


def _tensor(name: str, shape: Shape) -> bytes:
    dimensions = b"".join(_number(1, size) for size in shape if isinstance(size, int))
    return dimensions + _number(2, FLOAT) + _field(8, name.encode())


def _value(name: str, shape: Shape, element: int = FLOAT) -> bytes:
    dimensions = b"".join(
        _field(1, _number(1, size) if isinstance(size, int) else _field(2, size.encode()))
        for size in shape
    )
    kind = _field(1, _number(1, element) + _field(2, dimensions))
    return _field(1, name.encode()) + _field(2, kind)


def _field(number: int, content: bytes) -> bytes:
    return _key(number, BYTES) + _integer(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _key(number, INTEGER) + _integer(value)


def _key(number: int, kind: int) -> bytes:
    return _integer(number << 3 | kind)


def _integer(value: int) -> bytes:
    """A number that is not negative in base 128, least first; all but the last byte above 127."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
