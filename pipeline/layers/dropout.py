"""Dropout over sequences: one mask for all time steps, or one for each."""

from __future__ import annotations

from typing import Literal

import torch
from spikingjelly.activation_based import layer
from torch import nn
from torch.nn import functional

DropoutMask = Literal["fixed", "per-step"]


class SequenceDropout(layer.Dropout):
    """SpikingJelly's multi-step dropout, whose mask is kept until the reset; it may also be drawn for each time step.

    Args:
        share: Probability of an element to be set to zero.

    Attributes:
        mask_mode: ``fixed`` or ``per-step``; `set_dropout_masks` changes it for a network.
    """

    def __init__(self, share: float) -> None:
        super().__init__(share, step_mode="m")
        self.mask_mode: DropoutMask = "fixed"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, ...) to the same shape."""
        if self.mask_mode == "per-step":
            return functional.dropout(x, self.p, self.training)
        return super().forward(x)


def set_dropout_masks(network: nn.Module, mode: DropoutMask) -> None:
    """Make every dropout of a network keep its mask for all time steps, or draw one for each."""
    for module in network.modules():
        if isinstance(module, SequenceDropout):
            module.mask_mode = mode
