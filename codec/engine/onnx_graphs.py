"""The transforms as ONNX graphs, built from a model's configuration when it is loaded.

    features   x - 1/2 [1, 3, H, W]          -> level-independent part of g_a
    latents    features, scale of the level  -> y before the gain
    hyper      asinh of y after the gain     -> z
    synthesis  y^ times the inverse gain, scale of the level -> x^, or its means over squares
    restore    x^, kernel and offset of a picture -> x^ after the restoration filter

They are written here and never read from a file, so there is no graph that could be forged, any
model that was ever trained has one, and ids of models depend on configuration and tensors alone.
`codec.model` has the same layers for training; tests compare both.

A space-to-depth with a 1x1 convolution after it is one convolution whose stride is its kernel, with
the same numbers in the same order. What level and picture change are inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codec.engine.onnx_format import Attribute, Node, Shape, model
from codec.engine.reduced import STEM, ReducedStem
from codec.engine.tensors import FILTER_SIDE
from codec.weights.config import MIDDLE_GREY, ModelConfig
from codec.weights.file import COLOURS, KERNEL_RADIUS, KERNEL_SIDE

Array = NDArray[np.float32]
Tensors = Mapping[str, NDArray[np.floating]]

SLOPE = 0.01
"""Of LeakyReLU."""


@dataclass
class Graph:
    """A graph under construction, and the tensors to load it with."""

    name: str
    tensors: dict[str, Array] = field(default_factory=dict)
    """Contiguous float32 arrays by name."""
    inputs: dict[str, Shape] = field(default_factory=dict)
    corners: list[str] = field(default_factory=list)
    """Inputs of four int64 values."""
    _nodes: list[Node] = field(default_factory=list)
    _constants: dict[str, tuple[float]] = field(default_factory=dict)

    def input(self, name: str, *shape: int | str) -> str:
        """Declare an input of a shape."""
        self.inputs[name] = shape
        return name

    def crop(self, x: str, name: str) -> str:
        """The part of [1, C, H, W] from the corner `name.first` to `name.end`, which are inputs."""
        self.corners += f"{name}.first", f"{name}.end"
        return self.add("Slice", x, *self.corners[-2:])

    def constant(self, value: float) -> str:
        """A scalar."""
        name = f"constant {value}"
        self._constants[name] = (value,)
        return name

    def tensor(self, name: str, array: NDArray[np.floating], *shape: int) -> str:
        """A tensor to be given at loading, in the shape that its operation wants."""
        shaped = array.reshape(shape) if shape else array
        self.tensors[name] = np.ascontiguousarray(shaped, np.float32)
        return name

    def add(self, operation: str, *inputs: str, **attributes: Attribute) -> str:
        """Add an operation; gives the name of its output."""
        output = f"{len(self._nodes)}"
        self._nodes.append(Node(operation, inputs, output, attributes))
        return output

    def model(self, *shape: int | str) -> bytes:
        """The ONNX model whose output, of a shape, is that of the last operation."""
        shapes = {name: array.shape for name, array in self.tensors.items()}
        outputs = {self._nodes[-1].output: shape}
        return model(
            self.name, self._nodes, self.inputs, outputs, shapes, self._constants, self.corners
        )


class _Layers:
    """Layers of one transform.

    Args:
        graph: to build.
        tensors: all tensors of the model.
        part: of their names before the layers' own.
    """

    def __init__(self, graph: Graph, tensors: Tensors, part: str) -> None:
        self._graph = graph
        self._tensors = tensors
        self._part = part

    def named(self, name: str) -> NDArray[np.floating]:
        """A tensor of the transform."""
        return self._tensors[f"{self._part}.{name}"]

    def convolve(
        self,
        x: str,
        name: str,
        weight: NDArray[np.floating] | None = None,
        bias: NDArray[np.floating] | None = None,
        *,
        transposed: bool = False,
        **attributes: int | tuple[int, ...],
    ) -> str:
        """A convolution; matrices are kernels of 1x1.

        Args:
            x: its input.
            name: of its layer.
            weight: other than that of the layer.
            bias: likewise.
            transposed: whether it is one that upsamples.
            attributes: of the operation.
        """
        weight = self.named(f"{name}.weight") if weight is None else weight
        bias = self.named(f"{name}.bias") if bias is None else bias
        shape = (*weight.shape, 1, 1)[: max(4, weight.ndim)]
        kernel = self._graph.tensor(f"{self._part}.{name}.weight", weight, *shape)
        offset = self._graph.tensor(f"{self._part}.{name}.bias", bias)
        operation = "ConvTranspose" if transposed else "Conv"
        return self._graph.add(operation, x, kernel, offset, **attributes)

    def halve(self, x: str, name: str) -> str:
        """A 5x5 convolution of stride 2."""
        return self.convolve(x, name, strides=(2, 2), pads=(2, 2, 2, 2))

    def double(self, x: str, name: str) -> str:
        """A transposed 5x5 convolution of stride 2."""
        size = {"strides": (2, 2), "pads": (2, 2, 2, 2), "output_padding": (1, 1)}
        return self.convolve(x, name, transposed=True, **size)  # type: ignore[arg-type]

    def from_blocks(self, x: str, name: str, side: int) -> str:
        """Blocks of side x side positions to one each, by a matrix [out, C side side]."""
        weight = self.named(f"{name}.weight")
        kernels = weight.reshape(len(weight), -1, side, side)
        return self.convolve(x, name, kernels, strides=(side, side))

    def to_blocks(self, x: str, side: int) -> str:
        """[C side side, H, W] to [C, side H, side W]."""
        return self._graph.add("DepthToSpace", x, blocksize=side, mode="CRD")

    def depthwise(self, x: str, name: str) -> str:
        weight = self.named(f"{name}.weight")
        pads = (1, 1, 1, 1)
        return self.convolve(x, name, weight[:, None], group=len(weight), pads=pads)

    def blocks(self, x: str, name: str, count: int, bound: float, gated: bool) -> str:
        """Residual blocks, see `codec.model.transforms.Block`."""
        add = self._graph.add
        for number in range(count):
            part = f"{name}.{number}"
            h = add("LeakyRelu", self.convolve(x, f"{part}.w1"), alpha=SLOPE)
            x = add("Add", x, self.convolve(self.depthwise(h, f"{part}.dw"), f"{part}.w2"))
            if gated:
                x = self._gate(x, part, bound)
        return x

    def _gate(self, x: str, part: str, bound: float) -> str:
        """The gated branch of a block."""
        add, constant = self._graph.add, self._graph.constant
        weights = np.split(self.named(f"{part}.w3.weight"), 2)
        biases = np.split(self.named(f"{part}.w3.bias"), 2)
        u = self.convolve(x, f"{part}.u", weights[0], biases[0])
        v = self.convolve(x, f"{part}.v", weights[1], biases[1])
        gate = add("Clip", v, constant(0.0), constant(bound)) if bound else add("Relu", v)
        return add("Add", x, self.convolve(add("Mul", u, gate), f"{part}.w4"))

    def prior_block(self, x: str, name: str) -> str:
        """Residual block of h_a, see `codec.model.hyperprior.PriorBlock`."""
        add = self._graph.add
        h = add("Relu", self.convolve(x, f"{name}.w1"))
        h = add("Relu", self.depthwise(h, f"{name}.dw"))
        return add("Add", x, self.convolve(h, f"{name}.w2"))

    def normalise(self, x: str, name: str, inverse: bool) -> str:
        """Divisive normalisation, see `codec.model.gdn`."""
        add = self._graph.add
        pedestal = np.float32(2.0**-36)
        beta, gamma = (
            np.maximum(self.named(f"{name}.{root}_root").astype(np.float32), bound) ** 2 - pedestal
            for root, bound in (
                ("beta", np.sqrt(np.float32(1e-6) + pedestal)),
                ("gamma", np.sqrt(pedestal)),
            )
        )
        norm = self.convolve(add("Mul", x, x), name, gamma, beta)
        return add("Mul" if inverse else "Div", x, add("Sqrt", norm))


def features(config: ModelConfig, tensors: Tensors) -> tuple[Graph, bytes]:
    """The part of g_a that does not depend on the level; all of it with `gdn`."""
    graph = Graph("features")
    x, layers = graph.input("x", 1, COLOURS, "H", "W"), _Layers(graph, tensors, "g_a")
    if config.transform == "gdn":
        h = layers.halve(x, "convs.0")
        for number in range(3):
            h = layers.normalise(h, f"gdns.{number}", inverse=False)
            h = layers.halve(h, f"convs.{number + 1}")
        return graph, graph.model(1, config.latent, "H/16", "W/16")
    h = layers.from_blocks(x, "stem", STEM)
    layers.blocks(h, "blocks8", config.blocks8, config.gate_bound, gated=True)
    return graph, graph.model(1, config.channels8, "H/8", "W/8")


def latents(config: ModelConfig, tensors: Tensors) -> tuple[Graph, bytes]:
    """The rest of g_a with `lowres`: features and scale, of all or of each position, to y."""
    graph = Graph("latents")
    layers = _Layers(graph, tensors, "g_a")
    h = graph.input("features", 1, config.channels8, "H/8", "W/8")
    scale = graph.input("scale", 1, config.channels8, "scales in H", "scales in W")
    h = layers.from_blocks(graph.add("Mul", h, scale), "down", 2)
    h = layers.blocks(h, "blocks16", config.blocks16, config.gate_bound, config.gates16)
    layers.convolve(h, "head")
    return graph, graph.model(1, config.latent, "H/16", "W/16")


def hyper(config: ModelConfig, tensors: Tensors) -> tuple[Graph, bytes]:
    """h_a: asinh of y after the gain, sides multiples of 4, to z."""
    graph = Graph("hyper")
    layers = _Layers(graph, tensors, "h_a")
    y = graph.input("y", 1, config.latent, "H", "W")
    h = layers.prior_block(layers.convolve(y, "stem"), "block16")
    h = layers.prior_block(layers.from_blocks(h, "down16", 2), "block32")
    layers.convolve(graph.add("Relu", layers.from_blocks(h, "down32", 2)), "head")
    return graph, graph.model(1, config.hyper, "H/4", "W/4")


def synthesis(
    config: ModelConfig, tensors: Tensors, reduced: ReducedStem | None = None
) -> tuple[Graph, bytes]:
    """g_s: y^ times the inverse gain, and the scale with `lowres`, to x^.

    With `lowres` the halo is cut off as far as the layers to come do not see it: at 1/8 to what
    the inputs `at8` say, and at 1/4, if there is a filter, to what `at4` say.

    Args:
        config: of the model, whose tensors they are.
        tensors: all of the transforms.
        reduced: with `lowres`, what gives means of x^ over squares in place of x^.
    """
    blocks16 = reduced.blocks16 if reduced else config.blocks16
    blocks8 = reduced.blocks8 if reduced else config.blocks8
    graph = Graph("synthesis")
    layers = _Layers(graph, tensors, "g_s")
    y = graph.input("y", 1, config.latent, "H", "W")
    if config.transform == "gdn":
        h = layers.double(y, "convs.0")
        for number in range(3):
            h = layers.normalise(h, f"gdns.{number}", inverse=True)
            h = layers.double(h, f"convs.{number + 1}")
    else:
        scale = graph.input("scale", 1, config.channels8, "scales in H", "scales in W")
        h = layers.convolve(y, "head")
        h = layers.blocks(h, "blocks16", blocks16, config.gate_bound, config.gates16)
        h = graph.add("Mul", layers.to_blocks(layers.convolve(h, "up"), 2), scale)
        h = graph.crop(h, "at8")
        h = layers.blocks(h, "blocks8", blocks8, config.gate_bound, gated=True)
        h = _means(reduced, layers, h) if reduced else _samples(config, layers, graph, h)
    graph.add("Add", h, graph.constant(MIDDLE_GREY))
    if reduced:
        return graph, graph.model(1, COLOURS, f"{2 * reduced.side} H", f"{2 * reduced.side} W")
    return graph, graph.model(1, COLOURS, "16 H", "16 W")


def _means(reduced: ReducedStem, layers: _Layers, h: str) -> str:
    """The stem of reduced samples."""
    h = layers.convolve(h, "stem", reduced.weight, reduced.bias)
    return layers.to_blocks(h, reduced.side) if reduced.side > 1 else h


def _samples(config: ModelConfig, layers: _Layers, graph: Graph, h: str) -> str:
    """The stem of g_s and its filter.

    The filter reads the samples in blocks of 4x4, which the stem can write at once: its outputs
    (colour, row, column) of 8x8 in the order (colour, row and column in 4x4, which of the 2x2).
    """
    if not config.filter4:
        return layers.to_blocks(layers.convolve(h, "stem"), STEM)
    parts, side = STEM // FILTER_SIDE, FILTER_SIDE
    order = np.arange(COLOURS * STEM**2).reshape(COLOURS, parts, side, parts, side)
    order = order.transpose(0, 2, 4, 1, 3).reshape(-1)
    weight, bias = (layers.named(f"stem.{name}")[order] for name in ("weight", "bias"))
    blocks = graph.crop(layers.to_blocks(layers.convolve(h, "stem", weight, bias), parts), "at4")
    pads = (1, 1, 1, 1)
    h = graph.add("LeakyRelu", layers.convolve(blocks, "filter.enter", pads=pads), alpha=SLOPE)
    h = graph.add("LeakyRelu", layers.convolve(h, "filter.mix"), alpha=SLOPE)
    h = graph.add("Add", blocks, layers.convolve(h, "filter.leave", pads=pads))
    return layers.to_blocks(h, side)


def restore() -> tuple[Graph, bytes]:
    """The restoration filter, see `codec.model.restoration`: x^ that is padded, minus 1/2, and the
    combination of kernels that a picture asks for, to the change of x^."""
    graph = Graph("restore")
    x = graph.input("x", 1, COLOURS, "H", "W")
    kernel = graph.input("kernel", COLOURS, COLOURS, KERNEL_SIDE, KERNEL_SIDE)
    graph.add("Conv", x, kernel, graph.input("offset", COLOURS))
    border = 2 * KERNEL_RADIUS
    return graph, graph.model(1, COLOURS, f"H - {border}", f"W - {border}")
