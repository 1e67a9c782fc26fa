"""SNN4: four convolutions with strides instead of pooling and a linear layer; the `snn5` of earlier versions.

It was an approximation of the network of the CLIF paper's Figure 2 before that was read from its authors' code
(`pipeline.networks.snn5`), and stays because its weights differ: 64, 128, 256 and 512 channels, of which the last three
layers halve the map, in blocks (3x3 with bias, batch norm, neuron, dropout) of the authors' Spiking-VGG.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.blocks import ConvBlock, MakeNeuron, over_time, scaled

# Channels and stride of each convolution.
PLAN = ((64, 1), (128, 2), (256, 2), (512, 2))


class SNN4(nn.Module):
    """Four convolutions, three of them with stride 2, and one linear layer on the last map (`gap`: on its mean).

    Args:
        config: Width, dropout (after each neuron), batch norm and head.
        make_neuron: Called for each spiking layer.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame; any, because strides round up.
    """

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        rows, columns = size
        for number, (step, stride) in enumerate(PLAN, 1):
            out = scaled(step, config.width)
            block = ConvBlock(channels, out, config.batch_norm, make_neuron, config.dropout, stride=stride)
            self.features.add_module(f"conv{number}", block)
            channels, rows, columns = out, -(-rows // stride), -(-columns // stride)
        self.pool = nn.AdaptiveAvgPool2d(1) if config.head == "gap" else nn.Identity()
        self.classifier = nn.Linear(channels if config.head == "gap" else channels * rows * columns, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        return self.classifier(over_time(self.pool, self.features(frames)).flatten(2))
