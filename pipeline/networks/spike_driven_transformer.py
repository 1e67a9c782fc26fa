"""The Spike-Driven Transformer (Yao et al., NeurIPS 2023): membrane shortcuts, and attention by masks and sums.

Layers and initial weights are those of the authors' code; sizes are from its configuration files. Differences: their
1x1 convolution `talking_heads`, which is never called, is left out; here any size of frames is possible, and every
pooling rounds up. All layers with weights receive spikes, except for the first, which receives frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.attention import BatchNormMode, Residual, SpikeDrivenAttention, SpikeDrivenMLP
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.blocks import ConvBlock, MakeNeuron, SpikingBlock, scaled
from pipeline.layers.pooling import MaxPool


@dataclass(frozen=True)
class Sizes:
    """The sizes of a Spike-Driven Transformer.

    Attributes:
        blocks: Number of blocks of attention and MLP.
        channels: Channels of a token; a multiple of 8.
        pooled: After which of the four convolutions of the patch splitting a map is halved.
        spreads: Whether attention includes max poolings, as in the authors' code for CIFAR10-DVS.
    """

    blocks: int
    channels: int
    pooled: tuple[bool, bool, bool, bool]
    spreads: bool = False


SIZES: dict[str, Sizes] = {
    # conf/cifar10/2_512_300E_t4.yml; network.width 0.5 gives conf/cifar10/2_256_300E_t4.yml.
    "spike-driven-transformer": Sizes(2, 512, (False, False, True, True)),
    # conf/gesture/2_256_200E_t16.yml
    "spike-driven-transformer-gesture": Sizes(2, 256, (False, True, True, True)),
    # conf/cifar10-dvs/2_256_200E_t10_TET.yml
    "spike-driven-transformer-cifar10dvs": Sizes(2, 256, (False, False, True, True), spreads=True),
}
HEADS = 8
MLP_RATIO = 4


class SpikingPatchSplitting(SpikingBlock):
    """Four convolutions 3x3 that split frames into tokens, and a fifth that adds the relative position.

    The third shortcut of the paper's Figure 2: what it adds up are potentials before a neuron.
    """

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
        for number, (share, halves) in enumerate(zip((8, 4, 2), pooled, strict=False), 1):
            block = ConvBlock(channels, out // share, batch_norm, make_neuron, 0.0, bias=False)
            self.stages.add_module(f"conv{number}", block)
            if halves:
                self.stages.add_module(f"pool{number}", _halving())
            channels = out // share
        self.conv = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.norm = SequenceBatchNorm(out, batch_norm)
        self.pool = _halving() if pooled[3] else nn.Identity()
        self.neuron = make_neuron()
        self.position = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.position_norm = SequenceBatchNorm(out, batch_norm)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to potentials (T, B, out, H / p, W / p) for patches of p pixels, rounded up."""
        patches = self.pool(self.norm(self.convolve(self.conv, self.stages(frames))))
        return patches + self.position_norm(self.convolve(self.position, self.neuron(patches)))


def _halving() -> MaxPool:
    return MaxPool(3, stride=2, padding=1)


class SpikeDrivenTransformer(nn.Module):
    """A network of one of `SIZES`.

    Args:
        config: Name, width, batch norm (`joint` is the authors'), and the dropout rate of what attention and MLP add to
            a membrane potential (0 in the authors' code). The head has no effect: tokens are averaged.
        make_neuron: Called for each spiking layer; those that receive column sums have half the threshold.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame; any.
    """

    initialisation = "truncated-convolutions"

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        sizes = SIZES[config.name]
        width = HEADS * scaled(sizes.channels // HEADS, config.width)
        self.patches = SpikingPatchSplitting(channels, width, sizes.pooled, config.batch_norm, make_neuron)
        self.blocks = nn.Sequential()
        heads, mode, dropout = HEADS if sizes.spreads else None, config.batch_norm, config.dropout
        for number in range(1, sizes.blocks + 1):
            attention = SpikeDrivenAttention(width, mode, make_neuron, dropout, heads=heads)
            mlp = SpikeDrivenMLP(width, MLP_RATIO * width, mode, make_neuron, dropout)
            self.blocks.add_module(f"attention{number}", Residual(attention))
            self.blocks.add_module(f"mlp{number}", Residual(mlp))
        self.neuron = make_neuron()
        self.classifier = nn.Linear(width, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        potentials = self.blocks(self.patches(frames))
        return self.classifier(self.neuron(potentials.flatten(3).mean(3)))
