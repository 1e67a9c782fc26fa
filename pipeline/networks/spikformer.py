"""Spikformer (Zhou et al., ICLR 2023): attention as products of spikes without softmax, and additions of spikes.

Layers and initial weights are those of the authors' code for CIFAR-10 and CIFAR10-DVS. There, a pooling follows the
neuron; in SpikingJelly's `Spikformer`, it precedes it. Differences: q, k and v have no bias, as in their code for
CIFAR10-DVS and ImageNet; layer norms and a position embedding that are never called are left out; here any size of
frames is possible, and every pooling rounds up.

Shortcuts add spikes to spikes, so that attention and MLP receive small integers, for which `macs` are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.attention import BatchNormMode, Residual, SpikingAttention, token_block
from pipeline.layers.blocks import ConvBlock, MakeNeuron, scaled
from pipeline.layers.pooling import MaxPool


@dataclass(frozen=True)
class Sizes:
    """The sizes of a Spikformer.

    Attributes:
        blocks: Number of blocks of attention and MLP.
        channels: Channels of a token; a multiple of 8 and of the number of heads.
        heads: Number of heads.
        scale: Factor of the attention's product.
        pooled: After which of the four convolutions of the patch splitting a map is halved.
    """

    blocks: int
    channels: int
    heads: int
    scale: float
    pooled: tuple[bool, bool, bool, bool]


SIZES: dict[str, Sizes] = {
    # cifar10/cifar10.yml: Spikformer-4-384 with patches of 4x4 pixels.
    "spikformer": Sizes(4, 384, 12, 0.125, (False, False, True, True)),
    # cifar10dvs/model.py: Spikformer-2-256 with patches of 16x16 pixels.
    "spikformer-dvs": Sizes(2, 256, 16, 0.25, (True, True, True, True)),
}
MLP_RATIO = 4


class SpikingPatches(nn.Module):
    """Four convolutions 3x3 that split frames into tokens of spikes, and a fifth that adds the relative position."""

    def __init__(
        self,
        channels: int,
        out: int,
        pooled: tuple[bool, ...],
        batch_norm: BatchNormMode,
        make_neuron: MakeNeuron,
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential()
        for number, (share, halves) in enumerate(zip((8, 4, 2, 1), pooled, strict=True), 1):
            block = ConvBlock(channels, out // share, batch_norm, make_neuron, 0.0, bias=False)
            self.stages.add_module(f"conv{number}", block)
            if halves:
                self.stages.add_module(f"pool{number}", MaxPool(3, stride=2, padding=1))
            channels = out // share
        self.position = ConvBlock(out, out, batch_norm, make_neuron, 0.0, bias=False)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to sums of spikes (T, B, out, H / p, W / p) for patches of p pixels, rounded up."""
        patches = self.stages(frames)
        return patches + self.position(patches)


class Spikformer(nn.Module):
    """A network of one of `SIZES`.

    Args:
        config: Name, width, batch norm (`joint` is the authors'), and the dropout rate of what attention and MLP add (0
            in the authors' code). The head has no effect: tokens are averaged.
        make_neuron: Called for each spiking layer; those that receive the attention's product have half the threshold.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame; any.
    """

    initialisation = "truncated-linear"

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        sizes = SIZES[config.name]
        unit = math.lcm(8, sizes.heads)
        width = unit * scaled(sizes.channels // unit, config.width)
        mode, dropout = config.batch_norm, config.dropout
        self.patches = SpikingPatches(channels, width, sizes.pooled, mode, make_neuron)
        self.blocks = nn.Sequential()
        for number in range(1, sizes.blocks + 1):
            attention = SpikingAttention(width, sizes.heads, sizes.scale, mode, make_neuron, dropout)
            mlp = nn.Sequential(
                token_block(width, MLP_RATIO * width, mode, make_neuron, bias=True),
                token_block(MLP_RATIO * width, width, mode, make_neuron, bias=True, dropout=dropout),
            )
            self.blocks.add_module(f"attention{number}", Residual(attention))
            self.blocks.add_module(f"mlp{number}", Residual(mlp))
        self.classifier = nn.Linear(width, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        return self.classifier(self.blocks(self.patches(frames)).flatten(3).mean(3))
