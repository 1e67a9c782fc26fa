"""Fully connected networks, feed-forward and recurrent, for spike trains such as SHD and SSC (frames of 1 x 700).

Cramer et al. (IEEE TNNLS 2022), who published the data sets, compare one to three hidden layers of 128 LIF neurons with
one recurrent layer of 128. As in later work (Bittar and Garner, Frontiers in Neuroscience 2022), a batch norm follows
each linear layer, except for the recurrent ones. Here a linear layer without neurons gives logits in each time step;
theirs are leaky integrators, of which they use the maximum over time.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.blocks import MakeNeuron, scaled
from pipeline.layers.dense import DenseBlock, RecurrentBlock

HIDDEN: dict[str, tuple[type[DenseBlock], tuple[int, ...]]] = {
    "fc-snn": (DenseBlock, (128, 128)),
    "rsnn": (RecurrentBlock, (128,)),
}
"""The kind of hidden layers, and the neurons of each."""


class FullyConnected(nn.Module):
    """A network of one of `HIDDEN`: every pixel and channel of a frame is an input of the first layer.

    Args:
        config: Name, width, dropout (after each hidden layer) and batch norm. The head has no effect.
        make_neuron: Called for each hidden layer.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame; any.

    Raises:
        ConfigError: If the network is recurrent and the neuron cannot run step by step.
    """

    initialisation = "default"

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        kind, hidden = HIDDEN[config.name]
        features = channels * size[0] * size[1]
        self.hidden = nn.Sequential()
        for number, neurons in enumerate(hidden, 1):
            out = scaled(neurons, config.width)
            self.hidden.add_module(
                f"layer{number}", kind(features, out, config.batch_norm, make_neuron, config.dropout)
            )
            features = out
        self.classifier = nn.Linear(features, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        return self.classifier(self.hidden(frames.flatten(2)))
