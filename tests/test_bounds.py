from __future__ import annotations

import torch

from codec.model.bounds import at_least, bounded


def test_values_are_those_of_a_clamp() -> None:
    x = torch.linspace(-3, 3, 25, requires_grad=True)
    assert torch.equal(bounded(x, 0.0, 1.0), x.clamp(0, 1))
    assert torch.equal(bounded(x.detach(), 0.0, 1.0), x.clamp(0, 1))
    assert torch.equal(at_least(x, 0.5), x.clamp_min(0.5))


def test_gradients_lead_back_and_never_further_out() -> None:
    x = torch.tensor([-2.0, -2.0, 0.5, 0.5, 2.0, 2.0], requires_grad=True)
    slopes = torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    (gradient,) = torch.autograd.grad(bounded(x, 0.0, 1.0), x, slopes)
    assert gradient.tolist() == [-1, 0, -1, 1, 0, 1]
    (gradient,) = torch.autograd.grad(at_least(x, 1.0), x, slopes)
    assert gradient.tolist() == [-1, 0, -1, 0, -1, 1]
