"""SEW-ResNet: residual blocks that add spikes to spikes (Fang et al., NeurIPS 2021), with the function ADD.

Layers, sizes and initial weights are those of SpikingJelly's `sew_resnet18` and `sew_resnet34` with ``cnf="ADD"``,
which are made for ImageNet: a 7x7 convolution with a stride of 2 and a 3x3 max pooling quarter the size, stages 2 to 4
halve it. Sums of spikes reach 2 and more, so that only the convolutions that receive plain spikes count as additions in
an energy estimate.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.blocks import ConvBlock, MakeNeuron, make_dropout, over_time, scaled
from pipeline.layers.pooling import MaxPool
from pipeline.networks.residual_stages import CHANNELS, make_stages

LAYERS = {"sew-resnet18": 18, "sew-resnet34": 34}


class SEWBlock(nn.Module):
    """Two 3x3 convolutions without bias, each with batch norm and neuron, whose spikes are added to those of the input.

    Where the stride or the number of channels changes, the input passes a 1x1 convolution, batch norm and neuron first.

    Args:
        config: Batch norm.
        make_neuron: Called for each neuron.
        channels: Channels of the input.
        out: Channels of the output.
        stride: Of the first convolution.
    """

    def __init__(self, config: NetworkConfig, make_neuron: MakeNeuron, channels: int, out: int, stride: int) -> None:
        super().__init__()
        make = partial(ConvBlock, batch_norm=config.batch_norm, make_neuron=make_neuron, dropout=0.0, bias=False)
        self.conv1 = make(channels, out, stride=stride)
        self.conv2 = make(out, out)
        keeps_shape = stride == 1 and channels == out
        self.shortcut = None if keeps_shape else make(channels, out, kernel=1, padding=0, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to (T, B, out, H / stride, W / stride), rounded up; both are counts of spikes."""
        return self.conv2(self.conv1(x)) + (x if self.shortcut is None else self.shortcut(x))


class SEWResNet(nn.Module):
    """A network of one of `LAYERS`.

    Args:
        config: Name, width, batch norm, and dropout before the linear layer, which SpikingJelly's network does not
            have. Both heads are the mean of the last map.
        make_neuron: Called for each spiking layer.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame; any, because strides round up.
    """

    initialisation = "he"

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        first, last = scaled(CHANNELS[0], config.width), scaled(CHANNELS[-1], config.width)
        self.stem = ConvBlock(
            channels, first, config.batch_norm, make_neuron, 0.0, kernel=7, stride=2, padding=3, bias=False
        )
        self.stem_pool = MaxPool(3, stride=2, padding=1)
        make_block = partial(SEWBlock, config, make_neuron)
        self.stages = make_stages(make_block, LAYERS[config.name], config.width, strides=(1, 2, 2, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = make_dropout(config.dropout)
        self.classifier = nn.Linear(last, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        counts = self.stages(self.stem_pool(self.stem(frames)))
        return self.classifier(self.dropout(over_time(self.pool, counts).flatten(2)))
