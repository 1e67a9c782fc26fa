"""PLIF-Net: the networks of the parametric LIF neuron (Fang et al., ICCV 2021) for DVS-Gesture and CIFAR10-DVS.

Layers, sizes and initial weights are those of SpikingJelly's DVSGestureNet and CIFAR10DVSNet, which are made for
128x128 pixels and for 11 and 10 classes; here any size, number of classes and neuron is possible.

With torch's initial weights the voters are almost silent at first, their potentials far below the threshold. The
rectangle passes no gradient there, so that with a small T there may be little or nothing to learn from; SpikingJelly's
surrogate, the arc tangent (`neuron.surrogate` atan, `neuron.alpha` 2), always passes some.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.blocks import (
    MakeNeuron,
    Plan,
    last_channels,
    make_dropout,
    make_features,
    over_time,
    pooled_size,
    scaled,
)

PLANS: dict[str, Plan] = {
    "plif-net-gesture": (128, "M") * 5,
    "plif-net-cifar10dvs": (128, "M") * 4,
}
HIDDEN = 512
VOTERS = 10
"""Neurons for each class."""


class LinearBlock(nn.Module):
    """Dropout with one mask for all time steps, linear layer and neuron."""

    def __init__(self, features: int, out: int, make_neuron: MakeNeuron, dropout: float) -> None:
        super().__init__()
        self.dropout = make_dropout(dropout)
        self.linear = nn.Linear(features, out)
        self.neuron = make_neuron()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, features) to spikes (T, B, out)."""
        return self.neuron(self.linear(self.dropout(x)))


class PLIFNet(nn.Module):
    """A network of one of `PLANS`: convolutions without bias, max poolings, two linear layers with neurons, a vote.

    Args:
        config: Name, width (of the convolutions and of the 512 hidden neurons), batch norm, the dropout rate before
            each linear layer (0.5 in SpikingJelly), and the head: the hidden layer receives the last map (`paper`) or
            its mean (`gap`).
        make_neuron: Called for each spiking layer, including those after the linear layers.
        channels: Channels of a frame.
        classes: Number of classes; ten neurons vote for each.
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
        # Dropout is only applied before the linear layers.
        self.features = make_features(plan, channels, config, make_neuron, dropout=0.0, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1) if config.head == "gap" else nn.Identity()
        last, hidden = last_channels(plan, config.width), scaled(HIDDEN, config.width)
        seen = last if config.head == "gap" else last * rows * columns
        self.hidden = LinearBlock(seen, hidden, make_neuron, config.dropout)
        self.voters = LinearBlock(hidden, classes * VOTERS, make_neuron, config.dropout)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to the fraction of each class's voters that fire, (T, B, classes)."""
        seen = over_time(self.pool, self.features(frames)).flatten(2)
        return self.voters(self.hidden(seen)).unflatten(2, (-1, VOTERS)).mean(3)
