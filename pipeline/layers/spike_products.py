"""The operations between spike tensors that attention is made of, as modules, so that operations can be counted."""

from __future__ import annotations

import torch
from torch import nn


class SpikeMask(nn.Module):
    """The spikes of one tensor where another one has spikes: a logical AND, written as a product for its gradient."""

    def forward(self, spikes: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Spikes and mask of shapes that broadcast; spikes if both are spikes."""
        return spikes * mask


class TokenSum(nn.Module):
    """The sum over the last dimension, the tokens: as many additions as there are spikes."""

    def forward(self, spikes: torch.Tensor) -> torch.Tensor:
        """(T, B, ..., N) to (T, B, ..., 1)."""
        return spikes.sum(-1, keepdim=True)


class SpikeProduct(nn.Module):
    """A matrix product with a matrix of spikes, each of which adds a row of the other matrix."""

    def forward(self, spikes: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Spikes (..., N, K) and rows (..., K, M), which may be spikes or sums of them, to (..., N, M)."""
        return spikes @ rows
