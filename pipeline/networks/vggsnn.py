"""VGGSNN: the convolutional network of temporal efficient training (Deng et al., ICLR 2022) for CIFAR10-DVS at 48x48.

Dropout is only applied before the linear layer, as in the code of the parallel spiking neuron (Fang et al., NeurIPS
2023), whose mask is drawn for each time step (`network.dropout_mask` per-step).
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.blocks import MakeNeuron, Plan, last_channels, make_dropout, make_features, over_time, pooled_size

PLAN: Plan = (64, 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P")


class VGGSNN(nn.Module):
    """Eight convolutions, four average poolings, one linear layer on the last map (`gap`: on its mean).

    Args:
        config: Width, dropout, batch norm and head.
        make_neuron: Called for each spiking layer.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame; the paper's is 48x48.

    Raises:
        ConfigError: If frames are too small for the poolings.
    """

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        rows, columns = pooled_size(config.name, PLAN, size)
        self.features = make_features(PLAN, channels, config, make_neuron, dropout=0.0)
        last = last_channels(PLAN, config.width)
        self.pool = nn.AdaptiveAvgPool2d(1) if config.head == "gap" else nn.Identity()
        self.dropout = make_dropout(config.dropout)
        self.classifier = nn.Linear(last if config.head == "gap" else last * rows * columns, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        return self.classifier(self.dropout(over_time(self.pool, self.features(frames)).flatten(2)))
