"""Muon: momentum whose steps are made orthogonal, for convolution and matrix weights.

Jordan et al. 2024 (the Newton-Schulz coefficients are theirs), with the step scaled to the size of
AdamW's as in Liu et al. 2025 (arXiv 2502.16982, equation 4). Vectors take steps of Adam, as there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor

_BETAS = 0.9, 0.999  # of Adam
_TINY = 1e-8


@final
class Muon(torch.optim.Optimizer):
    """Weights (out, in, ...) are matrices (out, rest) to it; what is no matrix does not decay."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    (self._turn if _is_matrix(weight) else self._adam)(weight, group)

    def _turn(self, weight: Tensor, group: dict[str, float]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
        assert weight.grad is not None
        update = weight.grad.lerp(state["momentum"], group["momentum"])  # Nesterov
        flat = orthogonal(update.flatten(1))
        scale = 0.2 * max(flat.shape) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(flat.view_as(weight), alpha=-group["lr"] * scale)

    def _adam(self, weight: Tensor, group: dict[str, float]) -> None:
        state, (slow, slower) = self.state[weight], _BETAS
        if not state:
            state["step"] = torch.zeros(())  # a tensor, as the state of torch's own
            state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
        assert weight.grad is not None
        state["step"] += 1
        state["mean"].lerp_(weight.grad, 1 - slow)
        state["square"].lerp_(weight.grad**2, 1 - slower)
        count = float(state["step"])
        size = (state["square"] / (1 - slower**count)).sqrt_().add_(_TINY)
        weight.addcdiv_(state["mean"], size, value=-group["lr"] / (1 - slow**count))


def _is_matrix(weight: Tensor) -> bool:
    """Whether there is more than one row and one column, so that there is something to turn."""
    return weight.ndim > 1 and len(weight) > 1 and weight[0].numel() > 1


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T, by Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)
