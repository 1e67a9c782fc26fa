"""LAMB, the optimiser of You et al. (ICLR 2020), in the form that timm gives it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

_BETAS = (0.9, 0.999)
_EPS = 1e-6


class Lamb(torch.optim.Optimizer):
    """Adam whose step on each tensor is scaled by the norm of its weights, divided by that of the step.

    ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``,
    ``u = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + wd w``, ``w -= lr r u`` with ``r = |w| / |u|``, or 1 if either
    norm is 0 (You et al., ICLR 2020, Algorithm 2, with the identity for phi). As in timm, r is 1 for tensors without
    weight decay, and eps is 1e-6. timm also clips the norm of all gradients to 1, as `optimiser.clip_norm` does here.
    """

    def __init__(self, parameters: Iterable[torch.Tensor] | list[dict[str, Any]], lr: float, weight_decay: float):
        """Make an optimiser without state; moments are allocated at the first step.

        Args:
            parameters: Tensors to optimise, or groups of them with a `weight_decay` of their own.
            lr: Learning rate.
            weight_decay: Weight decay of the groups that have none of their own.
        """
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "betas": _BETAS, "eps": _EPS})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change all parameters that have a gradient."""
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._step_tensor(weights, group)

    def _step_tensor(self, weights: torch.Tensor, group: dict[str, Any]) -> None:
        first, second = group["betas"]
        state, gradient = self.state[weights], weights.grad
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weights), torch.zeros_like(weights)
        state["step"] += 1
        mean = state["exp_avg"].lerp_(gradient, 1 - first)
        square = state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        deviation = (square / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        update = (mean / (1 - first ** state["step"])).div_(deviation)
        decay = group["weight_decay"]
        if decay:
            update.add_(weights, alpha=decay)
            norm, step = weights.norm(), update.norm()
            # On the device, because reading the norms would wait for it.
            update.mul_(torch.where((norm > 0) & (step > 0), norm / step, 1.0))
        weights.sub_(update, alpha=group["lr"])
