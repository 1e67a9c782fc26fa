"""Spiking ResNet: pre-activation residual networks for 32x32 images, as in the CLIF authors' code.

He et al. (ECCV 2016) with a neuron for each ReLU. A stride of 1 in the stem and no pooling keep the size; stages 2 to 4
halve it. Every convolution but the first has a bias. The shortcut leaves a block behind its first neuron, so that all
residual blocks add to currents what spikes caused, or the spikes themselves, and every convolution but the stem
receives only spikes. The authors pool 4x4 pixels, which is the whole last map of CIFAR; here its mean is taken at any
size.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.blocks import MakeNeuron, SpikingBlock, fire, make_dropout, over_time, scaled
from pipeline.networks.residual_stages import CHANNELS, make_stages

LAYERS = {"spiking-resnet18": 18, "spiking-resnet34": 34}


class PreActivationBlock(SpikingBlock):
    """Twice batch norm, neuron and convolution; the shortcut leaves behind the first neuron.

    Where the stride or the number of channels changes, the shortcut is a 1x1 convolution with a bias.

    Args:
        config: Dropout (before the second convolution) and batch norm.
        make_neuron: Called for each of the two neurons.
        channels: Channels of the input.
        out: Channels of the output.
        stride: Of the first convolution.
    """

    def __init__(self, config: NetworkConfig, make_neuron: MakeNeuron, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = SequenceBatchNorm(channels, config.batch_norm)
        self.neuron1 = make_neuron()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1)
        self.norm2 = SequenceBatchNorm(out, config.batch_norm)
        self.neuron2 = make_neuron()
        self.dropout = make_dropout(config.dropout)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        keeps_shape = stride == 1 and channels == out
        self.shortcut = None if keeps_shape else nn.Conv2d(channels, out, 1, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to (T, B, out, H / stride, W / stride), rounded up; both are currents."""
        spikes = fire(self.norm1, self.neuron1, x)
        hidden = fire(self.norm2, self.neuron2, self.convolve(self.conv1, spikes))
        shortcut = spikes if self.shortcut is None else self.convolve(self.shortcut, spikes)
        return self.convolve(self.conv2, self.dropout(hidden)) + shortcut


class SpikingResNet(SpikingBlock):
    """A network of one of `LAYERS`.

    Args:
        config: Name, width, batch norm, and dropout (in every block and before the linear layer). Both heads are the
            mean of the last map.
        make_neuron: Called for each spiking layer.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame; any, because strides round up.
    """

    initialisation = "he-zero"

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        first, last = scaled(CHANNELS[0], config.width), scaled(CHANNELS[-1], config.width)
        self.stem = nn.Conv2d(channels, first, 3, padding=1, bias=False)
        make_block = partial(PreActivationBlock, config, make_neuron)
        self.stages = make_stages(make_block, LAYERS[config.name], config.width, strides=(1, 2, 2, 2))
        self.norm = SequenceBatchNorm(last, config.batch_norm)
        self.neuron = make_neuron()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = make_dropout(config.dropout)
        self.classifier = nn.Linear(last, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        return self.read_out(self.stages(self.convolve(self.stem, frames)))

    def read_out(self, current: torch.Tensor) -> torch.Tensor:
        """The output of the last block, (T, B, C, H, W), to logits (T, B, classes)."""
        spikes = fire(self.norm, self.neuron, current)
        return self.classifier(self.dropout(over_time(self.pool, spikes).flatten(2)))
