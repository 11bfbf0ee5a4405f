"""Initialisation of a model: as a linear transform codec, or from an earlier model.

The first layer is the 8x8 DCT in an opponent colour basis, the second the principal components of
2x2 groups of its output, the synthesis their transposes. Residual blocks are the identity. This
reaches some 28 dB before the first step.

Dead hidden units of an earlier model have no gradient; `restart_dead_units` re-initialises them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.model.build import Autoencoder
from codec.model.densities import LOG_SIGMA_STEP, SIGMA_MIN
from codec.model.hyperprior import HyperAnalysis, PriorBlock
from codec.model.rate import interpolate
from codec.model.transforms import (
    Block,
    Depthwise,
    LowResAnalysis,
    LowResSynthesis,
    Pointwise,
    build_transforms,
)
from codec.model.vector_autoencoder import VectorAutoencoder
from codec.model.vector_quantizer import fit_centres, group, look_up, nearest, ungroup
from codec.weights.config import MIDDLE_GREY, ModelConfig

P = TypeVar("P", bound=nn.Module)

BATCH = 16
DEAD = 1e-3
"""Share of active positions below which a hidden unit counts as dead."""
LEARNED_PER_LAMBDA = ("log_scale", "log_gain", "log_inverse", "level_bias")
"""Ends of the names of parameters [anchors, channels]."""


@torch.no_grad()
def start_as_transform_codec(model: Autoencoder, pictures: Tensor) -> None:
    """Fit the linear parts of an untrained model to a sample of pictures.

    The second layer of g_a becomes the PCA of 2x2 groups and that of g_s its transpose
    (`lowres` only). Then the prior's biases become mean and deviation of each latent channel,
    or codebooks are fitted (`fit_codebooks`).

    Args:
        model: an untrained model.
        pictures: sample of training pictures [B, 3, H, W] in 0..1, H and W multiples of 16.
    """
    if isinstance(model.g_a, LowResAnalysis) and isinstance(model.g_s, LowResSynthesis):
        _principal_components(model.g_a, model.g_s, pictures)
    if isinstance(model, VectorAutoencoder):
        fit_codebooks(model, pictures)
        return
    for anchor in range(model.config.anchors):
        level = torch.full((len(pictures),), float(anchor))
        y = model.gain(model.g_a(pictures, level), level)
        mean, deviation = y.mean((0, 2, 3)), y.std((0, 2, 3)).clamp_min(SIGMA_MIN)
        bias = torch.cat([mean, (deviation / SIGMA_MIN).log() / LOG_SIGMA_STEP])
        for head in model.prior.heads():
            head.level_bias[anchor] = bias


@torch.no_grad()
def fit_codebooks(model: VectorAutoencoder, pictures: Tensor) -> None:
    """Fit centres, level by level, and the prior's biases to the latents of `pictures`.

    Latents are scaled so that their squared error equals the resulting squared error of the
    samples: first each channel by its sensitivity, then all by the error of a first fit (`lowres`
    only).
    """
    if isinstance(model.g_a, LowResAnalysis) and isinstance(model.g_s, LowResSynthesis):
        _scale_latents(model.g_a, model.g_s, _sensitivity(model, pictures[:BATCH]))
        _fit(model, pictures)
        _scale_latents(model.g_a, model.g_s, _sensitivity_to_rounding(model, pictures[:BATCH]))
    _fit(model, pictures)


def _fit(model: VectorAutoencoder, pictures: Tensor) -> None:
    config = model.config
    y = torch.cat([model.analyse(part) for part in torch.split(pictures, BATCH)])
    remainder = group(y, config.groups).clone()
    for level in range(config.anchors):
        weigh = config.assignment == "rate-weighted"
        rate = 1 / config.assignment_lambda(level) if weigh else 0.0
        for g in range(config.groups):
            centres, share = fit_centres(remainder[:, g], config.centres, rate)
            model.quantizer.centres[level, g] = centres
            indices = nearest(remainder[:, g], centres, -rate * share.log()[None])
            remainder[:, g] -= centres[indices]
            if config.index_prior == "learned":
                first = g * config.centres
                model.prior.head_bias[level, first : first + config.centres] = share.log2()


def _sensitivity(model: VectorAutoencoder, pictures: Tensor) -> Tensor:
    """Root mean square change of the samples for a unit change of a latent, by channel, [M].

    It is estimated by the mean squared gradient of random projections of the samples.
    """
    y = model.analyse(pictures).detach().requires_grad_(True)
    with torch.enable_grad():
        x_hat = model.g_s(y, torch.full((len(y),), model.config.anchors - 1.0))
        (gradient,) = torch.autograd.grad((x_hat * torch.randn_like(x_hat)).sum(), y)
    return gradient.square().mean((0, 2, 3)).sqrt().clamp_min(1e-3)


def _sensitivity_to_rounding(model: VectorAutoencoder, pictures: Tensor) -> Tensor:
    """Ratio of the root mean square errors of samples and latents, with all levels."""
    y = model.analyse(pictures)
    flat = model.assign(y).permute(0, 1, 3, 4, 2).flatten(1, 3)
    used = torch.ones(*flat.shape[:2], 1, 1)
    y_hat = ungroup(look_up(model.quantizer.centres, flat, used), *y.shape[2:])
    top = torch.full((len(y),), model.config.anchors - 1.0)
    change = (model.g_s(y_hat, top) - model.g_s(y, top)).square().sum()
    return (change / (y_hat - y).square().sum().clamp_min(1e-9)).sqrt().clamp_min(1e-3)


def _scale_latents(g_a: LowResAnalysis, g_s: LowResSynthesis, scale: Tensor) -> None:
    g_a.head.weight.mul_(scale.reshape(-1, 1))
    g_a.head.bias.mul_(scale)
    g_s.head.weight.div_(scale)


def _principal_components(g_a: LowResAnalysis, g_s: LowResSynthesis, pictures: Tensor) -> None:
    groups = F.pixel_unshuffle(g_a.stem(F.pixel_unshuffle(pictures - MIDDLE_GREY, 8)), 2)
    samples = groups.permute(1, 0, 2, 3).reshape(groups.shape[1], -1).double()
    covariance = samples @ samples.T / samples.shape[1]
    directions = torch.linalg.eigh(covariance).eigenvectors.flip(1).T  # strongest first
    weight = torch.zeros(g_a.down.weight.shape, dtype=torch.float64)
    count = min(weight.shape)
    weight[:count] = directions[:count]
    g_a.down.weight.copy_(weight)
    g_s.up.weight.copy_(weight.T)


def _inputs(model: Autoencoder, pictures: Tensor, layers: Mapping[P, nn.Module]) -> dict[P, Tensor]:
    """Inputs [B, C, H, W] of the layers of some parts over all lambdas; of those that ran."""
    seen: dict[nn.Module, list[Tensor]] = {}  # a layer may run several times

    def keep(layer: nn.Module, arguments: tuple[Tensor], _: Tensor) -> None:
        seen.setdefault(layer, []).append(arguments[0])

    levels = torch.linspace(0, model.config.anchors - 1, len(pictures))
    if isinstance(model, VectorAutoencoder):
        levels = levels.floor()
    hooks = [layer.register_forward_hook(keep) for layer in layers.values()]
    try:
        model(pictures, levels, "rounded")
    finally:
        for hook in hooks:
            hook.remove()
    return {part: torch.cat(seen[layer]) for part, layer in layers.items() if layer in seen}


@torch.no_grad()
def restart_dead_units(model: Autoencoder, pictures: Tensor) -> int:
    """Re-initialise hidden units that are active at fewer than `DEAD` of the positions.

    These are units before a ReLU: of gates in the transforms' blocks, of the prior's blocks, and of
    the last hidden layer of h_a. A new unit has mean 0 and deviation 1 over the sample and outgoing
    weights of 0, so that the output changes at those few positions only.

    Args:
        model: a trained model.
        pictures: sample of training pictures [B, 3, H, W] in 0..1, H and W multiples of 64.

    Returns:
        Number of re-initialised units.
    """
    parts = [
        part
        for part in model.modules()
        if isinstance(part, PriorBlock | HyperAnalysis) or (isinstance(part, Block) and part.gated)
    ]
    inputs = _inputs(model, pictures, {part: _hidden_layer(part) for part in parts})
    return sum(_restart(part, x) for part, x in inputs.items())


def with_blocks(
    old: ModelConfig, config: ModelConfig, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Adapt parameters to transforms of another depth; added blocks are the identity.

    Args:
        old: configuration of the model.
        config: configuration of the new model.
        state: parameters of the old model, complete; those without a counterpart are dropped.
    """
    had, wanted = _transform_state(old), _transform_state(config)
    others = {n: t for n, t in state.items() if not n.startswith(("g_a.", "g_s."))}
    return others | {n: state[n] if n in had else fresh for n, fresh in wanted.items()}


def _transform_state(config: ModelConfig) -> dict[str, Tensor]:
    """Parameters of untrained transforms, by their names in an autoencoder."""
    return {
        f"{name}.{inner}": tensor
        for name, part in zip(("g_a", "g_s"), build_transforms(config), strict=True)
        for inner, tensor in part.state_dict().items()
    }


def with_lambdas(
    old: ModelConfig, config: ModelConfig, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Move what is learned per lambda to the lambdas of another range.

    It is log-linear between the lambdas of the old model; beyond them it goes on as between the
    last two.

    Args:
        old: configuration of the model.
        config: the same with another range.
        state: parameters of the model.
    """
    levels = torch.tensor([old.level_of(config.lambda_of(a)) for a in range(config.anchors)])
    return {
        name: interpolate(tensor, levels)[:, :, 0, 0]
        if name.endswith(LEARNED_PER_LAMBDA)
        else tensor
        for name, tensor in state.items()
    }


def with_units(count: int, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep so many hidden units of the first branch of each block at 1/16: those whose weights on
    the way in, across and out have the largest product of norms.

    Args:
        count: units to keep.
        state: parameters of a model.
    """
    state = dict(state)
    for name in [name.removesuffix("w1.weight") for name in state if name.endswith("w1.weight")]:
        if ".blocks16." not in name:
            continue
        into, across, out = (state[f"{name}{part}.weight"] for part in ("w1", "dw", "w2"))
        size = into.norm(dim=1) * across.flatten(1).norm(dim=1) * out.norm(dim=0)
        kept = size.topk(min(count, len(size))).indices.sort().values
        for part in ("w1.weight", "w1.bias", "dw.weight", "dw.bias"):
            state[name + part] = state[name + part][kept]
        state[f"{name}w2.weight"] = out[:, kept]
    return state


def _hidden_layer(part: Block | PriorBlock | HyperAnalysis) -> Pointwise:
    if isinstance(part, Block):
        return part.w3
    return part.w1 if isinstance(part, PriorBlock) else part.down32


def _restart(part: Block | PriorBlock | HyperAnalysis, x: Tensor) -> int:
    """Re-initialise the dead units of a part, given its input; returns their number."""
    layer = _hidden_layer(part)
    hidden = layer(x)
    if isinstance(part, Block):
        dead = _dead(hidden.chunk(2, 1)[1])
        _draw(layer, dead.repeat(2), x)
        reader = part.w4
    elif isinstance(part, PriorBlock):
        dead = _dead(hidden) | _dead(part.dw(F.relu(hidden)))
        _draw(layer, dead, x)
        _draw(part.dw, dead, F.relu(layer(x)))
        reader = part.w2
    else:
        dead = _dead(hidden)
        _draw(layer, dead, x)
        reader = part.head
    reader.weight[:, dead] = 0
    return int(dead.sum())


def _dead(hidden: Tensor) -> Tensor:
    """Mask [C] of channels that are positive at fewer than `DEAD` of the positions."""
    return (hidden > 0).float().mean((0, 2, 3)) < DEAD


def _draw(layer: Pointwise | Depthwise, units: Tensor, x: Tensor) -> None:
    """Re-initialise some output channels of a layer: mean 0 and deviation 1 over `x`."""
    if not units.any():
        return
    layer.weight[units] = torch.randn_like(layer.weight[units])
    layer.bias[units] = 0
    out = layer(x)[:, units]
    deviation = out.std((0, 2, 3), correction=0).clamp_min(1e-6)
    layer.weight[units] /= deviation.reshape(-1, *(1,) * (layer.weight.ndim - 1))
    layer.bias[units] = -out.mean((0, 2, 3)) / deviation
