"""Synaptic operations that inputs cause: a zero input costs nothing, and neither does a weight of zero.

This is the count of NeuroBench (Yik et al., Nature Communications 2025): each nonzero input of a convolution or
linear layer takes one operation for each nonzero weight that it meets, an accumulation (AC) if all inputs of the
layer in all counted samples are -1, 0 or 1, and a multiply-accumulate operation (MAC) otherwise. NeuroBench's package
decides so for each batch, so that its numbers depend on the batch size where some samples are binary by chance; they
are the same as these if one batch has all samples. Biases and products with padding are not counted. Table 6's rule
instead counts all MACs of a layer that receives other values than spikes, so that average pooling hides how much the
neurons before it fire.

Counts are whole numbers and exact. They use that an input element always meets the same weights: the operations of a
batch are the nonzero inputs at each position, summed, times the position's fan-out.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import torch
from torch import nn

from pipeline.cost.operations import Operations
from pipeline.layers.spike_products import SpikeProduct, TokenSum
from pipeline.networks.spiking_layers import neuron_layers

Kind = Literal["conv", "linear", "product", "sum"]
SYNAPTIC: tuple[Kind, ...] = ("conv", "linear")
"""Layers with weights, which NeuroBench counts."""

# As many bytes can be added without overflow.
_MOST_ROWS = 255
# Which elements are looked at first to see that a tensor has other values than -1, 0 and 1.
_STRIDE = 31


@dataclass(frozen=True)
class SynapticLayer:
    """What one layer computed, for one sample in all its time steps; a mean over samples.

    Attributes:
        name: Dotted name, as in the network's state dict.
        kind: conv and linear have weights; product and sum are parts of attention.
        acs: Accumulate operations that its inputs cause.
        macs: Multiply-accumulate operations that its inputs cause.
        dense: Operations if no input and no weight were zero, without those of padding.
        nonzeros: Inputs other than zero.
        inputs: All inputs.
    """

    name: str
    kind: Kind
    acs: float
    macs: float
    dense: float
    nonzeros: float
    inputs: float

    @property
    def effective(self) -> float:
        """Operations of both kinds."""
        return self.acs + self.macs


@dataclass(frozen=True)
class SynapticOperations:
    """The synaptic operations of one inference, by layer.

    Attributes:
        layers: All layers, in the order in which they ran.
    """

    layers: tuple[SynapticLayer, ...]

    def of(self, *kinds: Kind) -> list[SynapticLayer]:
        """Return the layers of these kinds."""
        return [layer for layer in self.layers if layer.kind in kinds]

    @property
    def effective_acs(self) -> float:
        """NeuroBench's effective ACs for one sample."""
        return sum(layer.acs for layer in self.of(*SYNAPTIC))

    @property
    def effective_macs(self) -> float:
        """NeuroBench's effective MACs for one sample."""
        return sum(layer.macs for layer in self.of(*SYNAPTIC))

    @property
    def dense(self) -> float:
        """NeuroBench's dense operations for one sample."""
        return sum(layer.dense for layer in self.of(*SYNAPTIC))


class SynapseCounter:
    """A context manager that counts the synaptic operations of every forward pass.

    Counts stay on the device; nothing waits for it until they are requested. Layers without state whose input is the
    same at each time step are computed, and counted, once. Compiled networks run without their compiled code.

    Args:
        network: Any network.
        operations: Its operations; layers whose inputs are only spikes need no test of their values.

    Attributes:
        mask: The steps of the next forward pass that count, bool (T, B); None counts all. Padding never counts.
    """

    def __init__(self, network: nn.Module, operations: Operations) -> None:
        spikes = {layer.name for layer in operations.layers if layer.binary_input}
        self._layers = {name: _Layer(module, kind, name in spikes) for name, module, kind in _counted_layers(network)}
        self._hooks = contextlib.ExitStack()
        # Compiled code does not call hooks that were not there when it was compiled.
        self._compiled = any(module._compiled_call_impl is not None for module in network.modules())
        self.mask: torch.Tensor | None = None

    @property
    def mask(self) -> torch.Tensor | None:
        """The steps of the next forward pass that count; setting it, also to None, starts that pass."""
        return self._mask

    @mask.setter
    def mask(self, mask: torch.Tensor | None) -> None:
        self._mask = mask
        for layer in self._layers.values():
            layer.calls = 0

    def __enter__(self) -> SynapseCounter:
        for layer in self._layers.values():
            hook = layer.module.register_forward_pre_hook(_Observer(self, layer))
            self._hooks.callback(hook.remove)
        if self._compiled:
            self._hooks.enter_context(torch.compiler.set_stance("force_eager"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()

    def operations(self, samples: int) -> SynapticOperations:
        """Return the mean operations of one sample; layers that never ran are left out."""
        return SynapticOperations(tuple(layer.describe(name, samples) for name, layer in self._ran()))

    def counts(self) -> dict[str, tuple[int, ...]]:
        """The counts so far of every layer that ran, by its name, for `add`."""
        return {name: layer.counts() for name, layer in self._ran()}

    def add(self, counts: Mapping[str, tuple[int, ...]]) -> None:
        """Add the counts of another process."""
        for name, found in counts.items():
            self._layers[name].add(found)

    def _ran(self) -> Iterator[tuple[str, _Layer]]:
        return ((name, layer) for name, layer in self._layers.items() if layer.inputs is not None)


class _Observer:
    """A forward pre-hook of one layer."""

    only_observes = True
    """It changes nothing, so that the layer may keep its fast code (`pipeline.layers.spike_conv`)."""

    def __init__(self, counter: SynapseCounter, layer: _Layer) -> None:
        self._counter, self._layer = counter, layer

    def __call__(self, _module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._layer.count(inputs, self._counter.mask)


class _Layer:
    """The counts of one layer so far."""

    def __init__(self, module: nn.Module, kind: Kind, spikes: bool) -> None:
        self.module, self.kind, self._spikes = module, kind, spikes
        self.calls = 0
        self.inputs: torch.Tensor | int | None = None
        self._effective: torch.Tensor | int = 0
        # Whether all counted inputs so far are -1, 0 or 1.
        self._binary: torch.Tensor | bool = True
        self._dense: torch.Tensor | int = 0
        self._nonzeros: torch.Tensor | int = 0
        # By the shape of one input: the fan-out of each element, and their sum if no weight were zero.
        self._fan_outs: dict[tuple[int, ...], tuple[torch.Tensor, int]] = {}

    def count(self, inputs: tuple[torch.Tensor, ...], mask: torch.Tensor | None) -> None:
        """Add the operations of one call; of one time step, if the layer is called once for each."""
        x = inputs[0].detach()
        self.calls += 1
        if self.kind in SYNAPTIC:
            shape = x.shape[x.dim() - input_dims(self.module) :]
            rows = _counted_rows(x, shape.numel(), mask, self.calls)
            if shape not in self._fan_outs:
                self._fan_outs[shape] = _fan_out(self.module, shape)
            fan_out, dense = self._fan_outs[shape]
            found = nonzeros_by_position(x, len(shape), rows)
            nonzeros, effective = found.sum(), (found * fan_out).sum()
        else:
            shape = x.shape[2:]
            rows = _counted_rows(x, shape.numel(), mask, self.calls)
            each = inputs[1].shape[-1] if isinstance(self.module, SpikeProduct) else 1
            hits = x != 0
            nonzeros = torch.count_nonzero(hits if rows is None else hits.flatten(2) & rows.view(*x.shape[:2], 1))
            effective, dense = nonzeros * each, each * shape.numel()
        elements = x.numel() if rows is None else rows.sum() * shape.numel()
        images = elements // shape.numel()
        if not self._spikes and self._binary is not False:
            self._binary = _is_binary(x, len(shape), rows) & self._binary
        self._effective = self._effective + effective
        self.inputs = elements if self.inputs is None else self.inputs + elements
        self._dense, self._nonzeros = self._dense + dense * images, self._nonzeros + nonzeros

    def counts(self) -> tuple[int, ...]:
        """Effective and dense operations, nonzero inputs and all inputs so far; 1 if all were -1, 0 or 1, else 0."""
        return tuple(map(int, (self._effective, self._dense, self._nonzeros, self.inputs or 0, self._binary)))

    def add(self, counts: tuple[int, ...]) -> None:
        effective, dense, nonzeros, inputs, binary = counts
        self._effective, self._dense = self._effective + effective, self._dense + dense
        self._nonzeros, self.inputs = self._nonzeros + nonzeros, (self.inputs or 0) + inputs
        self._binary = self._binary & bool(binary)

    def describe(self, name: str, samples: int) -> SynapticLayer:
        *counts, binary = self.counts()
        effective, dense, nonzeros, inputs = (count / samples for count in counts)
        acs, macs = (effective, 0.0) if binary else (0.0, effective)
        return SynapticLayer(name, self.kind, acs, macs, dense, nonzeros, inputs)


def nonzeros_by_position(x: torch.Tensor, dims: int, rows: torch.Tensor | None = None) -> torch.Tensor:
    """Count the elements other than zero at each position of the last dimensions.

    Args:
        x: (..., *position).
        dims: Number of dimensions of a position.
        rows: The leading elements that count, bool, as many as there are; None counts all.

    Returns:
        int64, of the shape of a position.
    """
    shape = x.shape[x.dim() - dims :]
    # In memory order, where the channel may be the fastest.
    last = dims > 1 and not x.is_contiguous()
    hits = (x.movedim(-dims, -1) if last else x) != 0
    flat = hits.reshape(-1, shape.numel())
    if rows is not None:
        flat = flat & rows.reshape(-1, 1)
    total = torch.zeros(shape.numel(), dtype=torch.int64, device=x.device)
    # Bytes add up several times as fast as wider integers.
    for part in flat.view(torch.uint8).split(_MOST_ROWS):
        total += part.sum(0, dtype=torch.uint8)
    return total.view(*shape[1:], shape[0]).movedim(-1, 0) if last else total.view(shape)


def _counted_rows(x: torch.Tensor, size: int, mask: torch.Tensor | None, call: int) -> torch.Tensor | None:
    """Which inputs of `size` elements count, bool; None for all.

    Args:
        x: (T, B, ...), (T * B, ...) or, in a recurrent layer's call for one time step, (B, ...).
        size: Elements of one input; there may be several for each sample and step, such as tokens.
        mask: bool (T, B).
        call: Number of the call in this forward pass; a recurrent layer is called from the second step on.
    """
    if mask is None:
        return None
    counted = mask.flatten() if x.shape[:2] == mask.shape or len(x) == mask.numel() else mask[call]
    return counted.repeat_interleave(x.numel() // size // len(counted))


def input_dims(module: nn.Module) -> int:
    """Number of dimensions of one input of a convolution or linear layer."""
    return 1 if isinstance(module, nn.Linear) else module.weight.dim() - 1  # type: ignore[operator]


def _is_binary(x: torch.Tensor, dims: int, rows: torch.Tensor | None) -> torch.Tensor | bool:
    """Whether all counted elements are -1, 0 or 1; on a GPU a tensor, for which nothing waits.

    Args:
        x: (..., *position), with `dims` dimensions of a position.
        dims: Number of dimensions of a position.
        rows: The leading elements that count; None counts all.
    """
    if rows is not None:
        signs = _are_signs(x).flatten(x.dim() - dims).all(-1).flatten()
        found = (signs | ~rows.flatten()).all()
    else:
        some = x.flatten()[::_STRIDE] if x.is_contiguous() else x[..., ::_STRIDE]
        if x.device.type == "cpu" and not _are_signs(some).all():
            # A few elements suffice, and on the CPU it costs nothing to look at them.
            return False
        found = _are_signs(x).all()
    return bool(found) if x.device.type == "cpu" else found


def _are_signs(x: torch.Tensor) -> torch.Tensor:
    return (x == 0) | (x.abs() == 1)


def _fan_out(module: nn.Module, shape: tuple[int, ...]) -> tuple[torch.Tensor, int]:
    """The number of nonzero weights that each element of an input of this shape meets, int64, which broadcasts to it.

    Returns also their sum if no weight were zero.
    """
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    nonzero = weight.detach() != 0
    if isinstance(module, nn.Linear):
        return nonzero.sum(0), weight.numel()
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    outputs = module.out_channels // module.groups
    taps = torch.ones((1, *module.kernel_size), dtype=torch.float64, device=weight.device)
    met = _taps_met(module, taps, shape[1:])
    dense = int(met.sum()) * module.in_channels * outputs
    if bool(nonzero.all()):
        return met * outputs, dense
    # Of each input channel and tap, to how many output channels it leads.
    leading = nonzero.unflatten(0, (module.groups, outputs)).sum(1).flatten(0, 1)
    return _taps_met(module, leading.double(), shape[1:]), dense


def _taps_met(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d, taps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """The sum of the taps, (channels, *kernel), that meet each input element, int64 (channels, *size).

    It is the gradient of the sum of the outputs of a convolution of each channel on its own.
    """
    alone = copy.copy(conv)
    alone.groups = len(taps)
    with torch.enable_grad(), torch.autocast(taps.device.type, enabled=False):
        one = torch.ones((1, len(taps), *size), dtype=taps.dtype, device=taps.device, requires_grad=True)
        (found,) = torch.autograd.grad(alone._conv_forward(one, taps[:, None], None).sum(), one)
    return found[0].round().long()


def _counted_layers(network: nn.Module) -> Iterable[tuple[str, nn.Module, Kind]]:
    """Iterate over the layers to count; those inside a spiking layer, such as recurrent connections, included."""
    neurons = neuron_layers(network)
    for name, module in network.named_modules():
        if name in neurons:
            continue
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            yield name, module, "conv"
        elif isinstance(module, nn.Linear):
            yield name, module, "linear"
        elif isinstance(module, SpikeProduct):
            yield name, module, "product"
        elif isinstance(module, TokenSum):
            yield name, module, "sum"
