"""The section `network`: architecture and initial weights, with the default of each field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NetworkConfig:
    """The network architecture."""

    name: str = "spiking-vgg-small"
    """A built-in network, or your own class: file.py:Class or package.module:Class."""
    width: float = 1.0
    """Factor for the number of channels of every hidden layer; 1 is the width in the paper."""
    dropout: float = 0.0
    """Dropout probability."""
    dropout_mask: Literal["fixed", "per-step"] = "fixed"
    """fixed: each sample has one dropout mask for all time steps. per-step: a new one at each time step."""
    batch_norm: Literal["per-step", "joint"] = "per-step"
    """per-step: batch statistics of each time step separately, as in the paper. joint: of all T * B images together."""
    head: Literal["paper", "gap"] = "paper"
    """paper: adaptive pooling to 7x7, then a linear layer. gap: global average pooling, then a linear layer."""
    linear_weights: Literal["normal", "torch"] = "normal"
    """Initial weights of linear layers in the networks of the CLIF authors. normal: standard deviation 0.01, bias 0,
    as in their Spiking-VGG. torch: PyTorch's own, as in their and PSN's VGGSNN."""

    def errors(self) -> Iterator[str]:
        """A line for every field that is out of range."""
        if not 0 < self.width < math.inf:
            yield f"network.width: expected more than 0, found {self.width}"
        if not 0.0 <= self.dropout < 1.0:
            yield f"network.dropout: expected a share in [0, 1), found {self.dropout}"
