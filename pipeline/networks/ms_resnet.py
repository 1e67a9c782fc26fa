"""MS-ResNet: residual networks with a membrane shortcut (Hu et al., IEEE TNNLS 2024), without spikes on the shortcut.

Blocks begin with a neuron and end with batch norm, and add to potentials. Layers and sizes are those of SpikingJelly's
`ms_resnet18` and `ms_resnet34` and of the authors' code, which are made for ImageNet: a 7x7 convolution and all four
stages have a stride of 2. Batch norm begins with the neuron's threshold as its weight, and with 0 at the end of a
block, as in the authors' code, so that a block is the identity at first and its convolutions only receive a gradient
once that weight has changed. The logits of each time step are returned; SpikingJelly's network averages them.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.blocks import MakeNeuron, SpikingBlock, fire, make_dropout, over_time, scaled
from pipeline.networks.residual_stages import CHANNELS, make_stages

LAYERS = {"ms-resnet18": 18, "ms-resnet34": 34}


class ScaledBatchNorm(SequenceBatchNorm):
    """Batch norm whose weights begin with a given value."""

    def __init__(self, channels: int, mode: Literal["per-step", "joint"], initial: float) -> None:
        # torch's constructor draws the weights.
        self._initial = initial
        super().__init__(channels, mode)

    def reset_parameters(self) -> None:
        """Set weights and running statistics to their initial values."""
        super().reset_parameters()
        nn.init.constant_(self.weight, self._initial)


def threshold_of(neuron: nn.Module) -> float:
    """The threshold of a neuron, or 1 if it has none that is a number."""
    threshold = getattr(neuron, "v_threshold", 1.0)
    return threshold if isinstance(threshold, float) else 1.0


class MembraneBlock(SpikingBlock):
    """Twice a neuron, a 3x3 convolution without bias and batch norm, added to the potential of the input.

    Where the stride or the number of channels changes, the shortcut is a 1x1 convolution without bias and batch norm.

    Args:
        config: Batch norm.
        make_neuron: Called for each of the two neurons.
        channels: Channels of the input.
        out: Channels of the output.
        stride: Of the first convolution.
    """

    def __init__(self, config: NetworkConfig, make_neuron: MakeNeuron, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.neuron1 = make_neuron()
        threshold = threshold_of(self.neuron1)
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = ScaledBatchNorm(out, config.batch_norm, threshold)
        self.neuron2 = make_neuron()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = ScaledBatchNorm(out, config.batch_norm, 0.0)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or channels != out:
            self.shortcut = nn.Conv2d(channels, out, 1, stride=stride, bias=False)
            self.shortcut_norm = ScaledBatchNorm(out, config.batch_norm, threshold)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to (T, B, out, H / stride, W / stride), rounded up; both are potentials."""
        hidden = fire(self.norm1, self.neuron2, self.convolve(self.conv1, self.neuron1(x)))
        residual = self.norm2(self.convolve(self.conv2, hidden))
        shortcut = x if self.shortcut is None else self.shortcut_norm(self.convolve(self.shortcut, x))
        return residual + shortcut


class MSResNet(SpikingBlock):
    """A network of one of `LAYERS`.

    Args:
        config: Name, width, batch norm, and dropout before the linear layer, which SpikingJelly's network does not
            have. Both heads are the mean of the last map.
        make_neuron: Called for each spiking layer.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame; any, because strides round up.
    """

    initialisation = "default"

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        first, last = scaled(CHANNELS[0], config.width), scaled(CHANNELS[-1], config.width)
        self.stem = nn.Conv2d(channels, first, 7, stride=2, padding=3, bias=False)
        make_block = partial(MembraneBlock, config, make_neuron)
        stages = make_stages(make_block, LAYERS[config.name], config.width, strides=(2, 2, 2, 2))
        self.neuron = make_neuron()
        self.stem_norm = ScaledBatchNorm(first, config.batch_norm, threshold_of(self.neuron))
        self.stages = stages
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = make_dropout(config.dropout)
        self.classifier = nn.Linear(last, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        spikes = self.neuron(self.stages(self.stem_norm(self.convolve(self.stem, frames))))
        return self.classifier(self.dropout(over_time(self.pool, spikes).flatten(2)))
