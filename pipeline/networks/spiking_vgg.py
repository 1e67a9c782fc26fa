"""Spiking-VGG: VGG with average pooling, one neuron after each batch norm, and one linear layer.

Simonyan and Zisserman (2015) as in the CLIF authors' code: adaptive pooling to 7x7 before the linear layer.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.blocks import MakeNeuron, Plan, last_channels, make_features, over_time, pooled_size

PLANS: dict[str, Plan] = {
    "spiking-vgg11": (64, "P", 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P"),
    "spiking-vgg13": (64, 64, "P", 128, 128, "P", 256, 256, "P", 512, 512, "P", 512, 512, "P"),
    "spiking-vgg16": (64, 64, "P", 128, 128, "P", *(256,) * 3, "P", *(512,) * 3, "P", *(512,) * 3, "P"),
    "spiking-vgg19": (64, 64, "P", 128, 128, "P", *(256,) * 4, "P", *(512,) * 4, "P", *(512,) * 4, "P"),
    # For CPUs: learns N-MNIST and the emulated sets in minutes on two cores.
    "spiking-vgg-small": (24, "P", 48, "P", 96, "P"),
}


class SpikingVGG(nn.Module):
    """A network of one of `PLANS`.

    Args:
        config: Name, width, dropout, batch norm, and the head: adaptive pooling to 7x7 (`paper`) or to 1x1 (`gap`).
        make_neuron: Called for each spiking layer.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame.

    Raises:
        ConfigError: If frames are too small for the poolings.
    """

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        plan = PLANS[config.name]
        pooled_size(config.name, plan, size)
        self.features = make_features(plan, channels, config, make_neuron, config.dropout)
        side = 7 if config.head == "paper" else 1
        self.pool = nn.AdaptiveAvgPool2d((side, side))
        self.classifier = nn.Linear(last_channels(plan, config.width) * side * side, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        return self.classifier(over_time(self.pool, self.features(frames)).flatten(2))
