"""A moving average of a network while it learns."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and of batch norm's running statistics, which belong to them.

    The first update copies; update n after it is ``a = d a + (1 - d) w`` with ``d = min(decay, (1 + n) / (10 + n))``:
    an average over many steps would be of random initial weights for as long.

    Args:
        network: What is averaged, by `update_parameters` after each step.
        decay: 0.99 averages over the last hundred steps or so.
    """
    return _MovingAverage(network, decay)


class _MovingAverage(AveragedModel):
    """Torch's class with an update that does not wait for the device.

    Torch's own copies the number of updates to the device of the weights, where reading it would wait once more.
    """

    n_averaged: torch.Tensor
    """The number of updates, on the CPU wherever the weights are."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Include the current weights and buffers of a network."""
        n = int(self.n_averaged)
        share = 1.0 - min(self._decay, (1 + n) / (10 + n))
        averages = chain(self.module.parameters(), self.module.buffers())
        for mean, current in zip(averages, chain(model.parameters(), model.buffers()), strict=True):
            if n and mean.is_floating_point():
                mean.lerp_(current.to(mean.dtype), share)
            else:
                # The first update copies, and so does each one of how many batches were seen.
                mean.copy_(current)
        self.n_averaged += 1
