"""Self-attention between spikes, and the MLP behind it, for sequences of maps (T, B, C, H, W).

A token is a pixel of a map; linear layers are 1x1 convolutions. Both attentions are linear in the number of tokens.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.blocks import ConvBlock, MakeNeuron, SpikingBlock, make_dropout
from pipeline.layers.pooling import MaxPool
from pipeline.layers.spike_products import SpikeMask, SpikeProduct, TokenSum

BatchNormMode = Literal["per-step", "joint"]

GATE_THRESHOLD = 0.5
"""Threshold of the neurons that receive sums over tokens, as a factor of that of the other neurons (both papers)."""


def token_block(
    channels: int, out: int, batch_norm: BatchNormMode, make_neuron: MakeNeuron, *, bias: bool, dropout: float = 0.0
) -> ConvBlock:
    """A linear layer for each token, batch norm and neuron."""
    return ConvBlock(channels, out, batch_norm, make_neuron, dropout, kernel=1, padding=0, bias=bias)


class SpikeDrivenAttention(SpikingBlock):
    """Spike-driven self-attention (SDSA; Yao et al., NeurIPS 2023): q masked by the column sums of k masked by v.

    Channels do not mix, so that heads have no effect, unless `heads` is given: then, as in the authors' code for
    CIFAR10-DVS (`Erode` there), k and v are max-pooled over 3x3 pixels, and the products with k and q over 3 tokens
    and 3 channels of a head.

    Args:
        channels: C.
        batch_norm: Mode of the batch norms.
        make_neuron: Called for each spiking layer: the one on the membrane shortcut, q, k, v, and the column sums.
        dropout: Dropout of the result.
        heads: Number of heads for the poolings; None for no poolings.
    """

    def __init__(
        self,
        channels: int,
        batch_norm: BatchNormMode,
        make_neuron: MakeNeuron,
        dropout: float,
        *,
        heads: int | None = None,
    ) -> None:
        super().__init__()
        self.neuron = make_neuron()
        self.query = token_block(channels, channels, batch_norm, make_neuron, bias=False)
        self.key = token_block(channels, channels, batch_norm, make_neuron, bias=False)
        self.value = token_block(channels, channels, batch_norm, make_neuron, bias=False)
        self.key_pool = _dilation(heads)
        self.value_pool = _dilation(heads)
        self.key_mask = SpikeMask()
        self.key_spread = _dilation(heads)
        self.column_sum = TokenSum()
        self.gate = make_neuron(threshold_factor=GATE_THRESHOLD)
        self.query_mask = SpikeMask()
        self.query_spread = _dilation(heads)
        self.project = nn.Conv2d(channels, channels, 1)
        self.norm = SequenceBatchNorm(channels, batch_norm)
        self.dropout = make_dropout(dropout)
        self._heads = heads or 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Potentials (T, B, C, H, W) to what is added to them, of the same shape."""
        spikes = self.neuron(x)
        query, key, value = self.query(spikes), self.key(spikes), self.value(spikes)
        masked = self.key_mask(self.key_pool(key), self.value_pool(value))
        gate = self.gate(self.column_sum(self.key_spread(self._of_heads(masked))))
        attended = self.query_spread(self.query_mask(self._of_heads(query), gate))
        attended = attended.flatten(2, 3).unflatten(3, x.shape[3:])
        return self.dropout(self.norm(self.convolve(self.project, attended)))

    def _of_heads(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, C, H, W) to (T, B, heads, C / heads, H W)."""
        return x.flatten(3).unflatten(2, (self._heads, -1))


class Residual(nn.Module):
    """The input plus a branch of it."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, C, H, W) to the same shape."""
        return x + self.branch(x)


def _dilation(heads: int | None) -> nn.Module:
    return nn.Identity() if heads is None else MaxPool(3, stride=1, padding=1)


class SpikeDrivenMLP(SpikingBlock):
    """Neuron, linear layer, batch norm, and once more, so that both linear layers receive spikes (Yao et al., 2023)."""

    def __init__(
        self, channels: int, hidden: int, batch_norm: BatchNormMode, make_neuron: MakeNeuron, dropout: float
    ) -> None:
        super().__init__()
        self.neuron = make_neuron()
        self.hidden = token_block(channels, hidden, batch_norm, make_neuron, bias=True)
        self.project = nn.Conv2d(hidden, channels, 1)
        self.norm = SequenceBatchNorm(channels, batch_norm)
        self.dropout = make_dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Potentials (T, B, C, H, W) to what is added to them, of the same shape."""
        return self.dropout(self.norm(self.convolve(self.project, self.hidden(self.neuron(x)))))


class SpikingAttention(nn.Module):
    """Spiking self-attention (SSA; Zhou et al., ICLR 2023): q (k^T v) times a scale, without softmax.

    Args:
        channels: C.
        heads: Number of heads; they divide C.
        scale: The factor of the product.
        batch_norm: Mode of the batch norms.
        make_neuron: Called for each spiking layer: q, k, v, their product, and the result.
        dropout: Dropout of the result.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        scale: float,
        batch_norm: BatchNormMode,
        make_neuron: MakeNeuron,
        dropout: float,
    ) -> None:
        super().__init__()
        self.query = token_block(channels, channels, batch_norm, make_neuron, bias=False)
        self.key = token_block(channels, channels, batch_norm, make_neuron, bias=False)
        self.value = token_block(channels, channels, batch_norm, make_neuron, bias=False)
        self.value_product = SpikeProduct()
        self.query_product = SpikeProduct()
        self.gate = make_neuron(threshold_factor=GATE_THRESHOLD)
        self.project = token_block(channels, channels, batch_norm, make_neuron, bias=True, dropout=dropout)
        self._heads, self._scale = heads, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, C, H, W) to spikes that are added to it, of the same shape."""
        query, key, value = (self._of_heads(block(x)) for block in (self.query, self.key, self.value))
        # Sums of spikes are exact, so that k^T v first is the same as q k^T first, and cheaper: there are more tokens
        # than channels in a head. Everything is transposed, with the channel before the token.
        context = self.value_product(value, key.transpose(-1, -2))
        attended = self.query_product(query.transpose(-1, -2), context.transpose(-1, -2)).transpose(-1, -2)
        # The scale could be folded into the neuron's threshold.
        scaled = (attended * self._scale).flatten(2, 3).unflatten(3, x.shape[3:])
        return self.project(self.gate(scaled))

    def _of_heads(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, C, H, W) to (T, B, heads, C / heads, H W)."""
        return x.flatten(3).unflatten(2, (self._heads, -1))
