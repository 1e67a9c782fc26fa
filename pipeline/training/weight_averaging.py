"""A moving average of a network while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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

    def average(averages: Sequence[torch.Tensor], currents: Sequence[torch.Tensor], updates: Any) -> None:
        n = int(updates)
        share = 1.0 - min(decay, (1 + n) / (10 + n))
        for mean, current in zip(averages, currents, strict=True):
            if mean.is_floating_point():
                mean.lerp_(current.to(mean.dtype), share)
            else:
                # How many batches were seen.
                mean.copy_(current)

    return AveragedModel(network, multi_avg_fn=torch.no_grad()(average), use_buffers=True)
