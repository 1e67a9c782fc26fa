"""Building blocks of spiking convolutional networks; every layer maps sequences (T, B, ...) to sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, Protocol, Self

import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig
from pipeline.kernels.norm_neuron import can_fuse
from pipeline.kernels.tensors import is_repeated, repeated
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.dropout import SequenceDropout
from pipeline.layers.pooling import AveragePool, MaxPool
from pipeline.layers.spike_conv import convolve
from preprocess.errors import ConfigError


class MakeNeuron(Protocol):
    """Makes the neuron of a layer."""

    def __call__(self, threshold_factor: float = 1.0) -> nn.Module:
        """A neuron whose threshold is `neuron.v_threshold` times a factor, for layers that the authors gave another."""


Plan = Sequence[int | Literal["P", "M"]]
"""Channels of each convolution, P for a 2x2 average pooling, M for a 2x2 max pooling."""

_POOLINGS: dict[str, type[nn.Module]] = {"P": AveragePool, "M": MaxPool}


def over_time(module: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Apply a module without state to all T*B images at once; to B images if all time steps are the same."""
    if is_repeated(x):
        return repeated(module(x[0]), len(x))
    return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """A sequence (T, B, C, H, W) in the memory order T, B, H, W, C; unchanged if it has that order."""
    if is_repeated(x):
        return repeated(channels_last(x[:1])[0], len(x))
    return x.movedim(2, -1).contiguous().movedim(-1, 2)


def make_dropout(share: float) -> nn.Module:
    """Dropout whose masks follow `network.dropout_mask`; the identity if the rate is 0."""
    return SequenceDropout(share) if share > 0 else nn.Identity()


def fire(norm: SequenceBatchNorm, neuron: nn.Module, current: torch.Tensor) -> torch.Tensor:
    """Batch norm and the neuron behind it, as one function where `can_fuse` allows it."""
    if can_fuse(neuron, norm, current):
        return neuron(current, norm=norm)
    return neuron(norm(current))


class SpikingBlock(nn.Module):
    """A module of convolutions, batch norms and neurons, which on the CPU share a memory order if that is faster."""

    @property
    def neuron_takes_norm(self) -> bool:
        """Whether batch norm and neuron run as one on the CPU, unless something prevents it."""
        return any(getattr(module, "takes_norm", False) for module in self.modules())

    def convolve(self, conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        """A convolution of the block, (T, B, C, H, W) to (T, B, out, ...)."""
        if self.neuron_takes_norm and x.device.type == "cpu":
            # The convolution's output has the memory order of its input.
            x = x.contiguous() if _damages_memory(conv) else channels_last(x)
        # On the CPU, inputs that are zero are skipped where this saves time.
        return over_time(partial(convolve, conv), x)

    def lay_out(self) -> None:
        """Give the weights the memory order of their gradients: with the channel fastest, on the CPU."""
        fits = self.neuron_takes_norm
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                weight = module.weight
                last = fits and weight.device.type == "cpu"
                form = torch.channels_last if last else torch.contiguous_format
                weight.data = weight.data.contiguous(memory_format=form)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        # torch calls this when a network moves to another device or type.
        super()._apply(fn, recurse)
        self.lay_out()
        return self


def _damages_memory(conv: nn.Conv2d) -> bool:
    """Whether oneDNN, torch's library for CPUs, writes outside of its buffers for this gradient (channels-last memory).

    A strided 1x1 kernel with fewer input channels than a vector has (8 in AVX2, 16 in AVX-512): the process crashes or
    hangs, or the gradient is wrong. Seen with torch 2.14.1; https://github.com/uxlfoundation/oneDNN/issues/6035.
    """
    return conv.kernel_size == (1, 1) and conv.stride != (1, 1) and conv.in_channels < 16


class ConvBlock(SpikingBlock):
    """Convolution, batch norm, neuron and dropout."""

    def __init__(
        self,
        channels: int,
        out: int,
        batch_norm: Literal["per-step", "joint"],
        make_neuron: MakeNeuron,
        dropout: float,
        *,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride=stride, padding=padding, bias=bias)
        self.norm = SequenceBatchNorm(out, batch_norm)
        self.neuron = make_neuron()
        self.dropout = make_dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, C, H, W) to (T, B, out, H', W'); with 3x3 and a padding of 1, only strides reduce H and W."""
        return self.dropout(fire(self.norm, self.neuron, self.convolve(self.conv, x)))


class LinearBlock(nn.Module):
    """Dropout, linear layer and neuron."""

    def __init__(self, features: int, out: int, make_neuron: MakeNeuron, dropout: float) -> None:
        super().__init__()
        self.dropout = make_dropout(dropout)
        self.linear = nn.Linear(features, out)
        self.neuron = make_neuron()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(T, B, features) to spikes (T, B, out)."""
        return self.neuron(self.linear(self.dropout(x)))


def make_features(
    plan: Plan, channels: int, config: NetworkConfig, make_neuron: MakeNeuron, dropout: float, *, bias: bool = True
) -> nn.Sequential:
    """The convolutions and poolings of a plan, conv1, conv2, pool1 ..., with channels multiplied by `config.width`."""
    features = nn.Sequential()
    counts = {"conv": 0, "pool": 0}
    for step in plan:
        kind = "conv" if isinstance(step, int) else "pool"
        counts[kind] += 1
        if isinstance(step, int):
            out = scaled(step, config.width)
            block: nn.Module = ConvBlock(channels, out, config.batch_norm, make_neuron, dropout, bias=bias)
            channels = out
        else:
            block = _POOLINGS[step]()
        features.add_module(f"{kind}{counts[kind]}", block)
    return features


def scaled(channels: int, width: float) -> int:
    """Channels times width, at least 1."""
    return max(1, round(channels * width))


def last_channels(plan: Plan, width: float) -> int:
    """Channels after the last convolution of a plan."""
    return scaled([step for step in plan if isinstance(step, int)][-1], width)


def pooled_size(name: str, plan: Plan, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width after all poolings of a plan.

    Raises:
        ConfigError: If the input is too small.
    """
    halvings = sum(step in _POOLINGS for step in plan)
    rows, columns = size[0] >> halvings, size[1] >> halvings
    if rows < 1 or columns < 1:
        raise ConfigError(
            f"{name}: expected frames of at least {1 << halvings}x{1 << halvings} pixels for its {halvings} poolings, "
            f"found {size[0]}x{size[1]}. Set input.size, or a smaller binning.downsample."
        )
    return rows, columns
