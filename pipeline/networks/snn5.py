"""SNN5: the five convolutions without pooling of the CLIF paper's Figure 2, as its authors' code has them.

They use it for CIFAR-10 (`SNN5_noAP`), whose 32x32 pixels become maps of 32, 15, 7, 2 and 1 pixels on a side: kernels
of 5 have a padding of 1, so that maps lose pixels. The linear layer reads the last map, 256 values on CIFAR-10.
"""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.layers.blocks import ConvBlock, MakeNeuron, make_dropout, over_time, scaled
from preprocess.errors import ConfigError

# Channels, kernel and stride of each convolution; all have a padding of 1.
PLAN = ((16, 3, 1), (64, 5, 2), (128, 5, 2), (256, 5, 4), (256, 3, 2))
LEAST_SIZE = 15


class SNN5(nn.Module):
    """Five convolutions with bias, and one linear layer on the last map (`gap`: on its mean).

    Args:
        config: Width, dropout (before the linear layer), batch norm and head.
        make_neuron: Called for each spiking layer.
        channels: Channels of a frame.
        classes: Number of logits.
        size: Height and width of a frame; 32x32 in the paper.

    Raises:
        ConfigError: If frames are smaller than 15x15.
    """

    initialisation = "he"
    weights_hint = (
        "Before the network of Figure 2 was corrected, snn5 was the network that is now snn4: set network.name in the "
        "run's config.json to snn4, or train again in another --out."
    )

    def __init__(
        self, config: NetworkConfig, make_neuron: MakeNeuron, *, channels: int, classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        if min(size) < LEAST_SIZE:
            raise ConfigError(
                f"{config.name}: expected frames of at least {LEAST_SIZE}x{LEAST_SIZE} pixels for its kernels and "
                f"strides, found {size[0]}x{size[1]}. Set input.size, or a smaller binning.downsample."
            )
        self.features = nn.Sequential()
        rows, columns = size
        for number, (step, kernel, stride) in enumerate(PLAN, 1):
            out = scaled(step, config.width)
            block = ConvBlock(channels, out, config.batch_norm, make_neuron, 0.0, kernel=kernel, stride=stride)
            self.features.add_module(f"conv{number}", block)
            rows, columns = ((pixels + 2 - kernel) // stride + 1 for pixels in (rows, columns))
            channels = out
        self.pool = nn.AdaptiveAvgPool2d(1) if config.head == "gap" else nn.Identity()
        self.dropout = make_dropout(config.dropout)
        self.classifier = nn.Linear(channels if config.head == "gap" else channels * rows * columns, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(T, B, channels, H, W) to logits (T, B, classes)."""
        return self.classifier(self.dropout(over_time(self.pool, self.features(frames)).flatten(2)))
