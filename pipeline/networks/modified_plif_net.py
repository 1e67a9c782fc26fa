"""Modified PLIF-Net: PLIF-Net with average pooling and a linear layer instead of a vote.

The CLIF paper's tables name it for KLIF (Jiang and Zhang, 2023) and the parallel spiking neuron (PSN; Fang et al.,
NeurIPS 2023). Only PSN's was released, for CIFAR-10: no dropout, and a quarter as many hidden neurons as inputs. KLIF's
paper has no code, and its networks are assumed to be modified in the same way, each from the data set's PLIF-Net. On
DVS-Gesture at 128x128 the hidden layer then has PLIF-Net's own 512 neurons.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.blocks import (
    LinearBlock,
    MakeNeuron,
    Plan,
    last_channels,
    make_dropout,
    make_features,
    over_time,
    pooled_size,
)

PLANS: dict[str, Plan] = {
    "modified-plif-net-cifar10": (256, 256, 256, "P") * 2,
    "modified-plif-net-gesture": (128, "P") * 5,
    "modified-plif-net-cifar10dvs": (128, "P") * 4,
}


class ModifiedPLIFNet(nn.Module):
    """A network of one of `PLANS`: convolutions without bias, average poolings, two linear layers.

    Args:
        config: Name, width, batch norm, the dropout rate before each linear layer (0 in PSN's code), and the head: the
            hidden layer receives the last map (`paper`) or its mean (`gap`).
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
        plan = PLANS[config.name]
        rows, columns = pooled_size(config.name, plan, size)
        self.features = make_features(plan, channels, config, make_neuron, dropout=0.0, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1) if config.head == "gap" else nn.Identity()
        last = last_channels(plan, config.width)
        seen = last if config.head == "gap" else last * rows * columns
        hidden = max(1, seen // 4)
        self.hidden = LinearBlock(seen, hidden, make_neuron, config.dropout)
        self.dropout = make_dropout(config.dropout)
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        seen = over_time(self.pool, self.features(frames)).flatten(2)
        return self.classifier(self.dropout(self.hidden(seen)))
