"""7B-wideNet: seven residual blocks for CIFAR10-DVS at 48x48, as in the code of GLIF (Yao et al., NeurIPS 2022).

It is the Wide-7B-Net of SEW-ResNet (Fang et al., NeurIPS 2021) for 48x48 instead of 128x128 pixels: average instead of
max pooling, and only behind the last four blocks. Where the number of channels changes, a 1x1 convolution with batch
norm and neuron precedes the block. GLIF's code averages spikes over time before the linear layer, which gives the mean
of the logits of each time step that are returned here.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.blocks import ConvBlock, MakeNeuron, Plan, make_dropout, over_time, pooled_size, scaled
from pipeline.layers.pooling import AveragePool
from pipeline.networks.sew_resnet import SEWBlock

PLAN: Plan = (64, 64, 64, 64, "P", 128, "P", 128, "P", 128, "P")
"""Channels of each block, and P for a 2x2 average pooling."""


class Wide7B(nn.Module):
    """Seven blocks of two convolutions without bias, and one linear layer on the last map (`gap`: on its mean).

    Args:
        config: Width, batch norm, head, and dropout before the linear layer, which GLIF's network does not have.
        make_neuron: Called for each spiking layer.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame.

    Raises:
        ConfigError: If frames are too small for the poolings.
    """

    initialisation = "default"

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        rows, columns = pooled_size(config.name, PLAN, size)
        self.features = nn.Sequential()
        counts = {"block": 0, "pool": 0}
        for step in PLAN:
            kind = "block" if isinstance(step, int) else "pool"
            counts[kind] += 1
            name = f"{kind}{counts[kind]}"
            if not isinstance(step, int):
                self.features.add_module(name, AveragePool())
                continue
            out = scaled(step, config.width)
            if counts[kind] == 1 or out != channels:
                widen = ConvBlock(channels, out, config.batch_norm, make_neuron, 0.0, kernel=1, padding=0, bias=False)
                self.features.add_module(f"{name}_channels", widen)
                channels = out
            self.features.add_module(name, SEWBlock(config, make_neuron, channels, out, 1))
        self.pool = nn.AdaptiveAvgPool2d(1) if config.head == "gap" else nn.Identity()
        self.dropout = make_dropout(config.dropout)
        self.classifier = nn.Linear(channels if config.head == "gap" else channels * rows * columns, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        return self.classifier(self.dropout(over_time(self.pool, self.features(frames)).flatten(2)))
