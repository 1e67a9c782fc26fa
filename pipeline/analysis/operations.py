"""What a network computes in one time step of one sample: MACs, neurons and parameters, layer by layer.

A MAC is one multiplication and addition. Counted are layers that are modules of torch: convolutions, linear layers and
poolings, and the spiking layers. What a network of one's own does with functions alone, such as the matrix products of
an attention, is not seen. Batch norm counts nothing, because it folds into the layer in front of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config.custom_classes import is_custom
from pipeline.config.neuron_traits import NEURONS, traits_of
from pipeline.config.run_config import RunConfig
from pipeline.layers.pooling import AveragePool, MaxPool
from pipeline.networks.firing import neuron_layers, reset_network

Kind = Literal["conv", "linear", "norm", "pool", "neuron"]

_COPYING = (torch.ops.aten.clone.default, torch.ops.aten._reshape_copy.default)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MAX_POOLS = (MaxPool, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_POOLS = (
    *_MAX_POOLS,
    AveragePool,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Layer:
    """One layer, for one sample in one time step.

    Attributes:
        name: Dotted, as the network's state dict has it.
        kind: What it is.
        macs: Dense multiplications and additions of a convolution or linear layer, every input counted; 4 for each
            output of a 2x2 average pooling; 0 for all others.
        parameters: Weights of its own.
        outputs: Elements that it gives; of a spiking layer, its neurons.
        source: The spiking layer, or the pooling behind it, whose spikes it sees alone, 0 or 1, so that it needs no
            multiplication; "" where it sees other numbers.
    """

    name: str
    kind: Kind
    macs: int
    parameters: int
    outputs: int
    source: str

    @property
    def binary_input(self) -> bool:
        """Whether it sees spikes alone."""
        return bool(self.source)


@dataclass(frozen=True)
class Operations:
    """Attributes:
    layers: In the order in which they are called.
    parameters: Of the whole network, shared ones once.
    """

    layers: tuple[Layer, ...]
    parameters: int

    def of(self, *kinds: Kind) -> list[Layer]:
        """The layers of some kinds."""
        return [layer for layer in self.layers if layer.kind in kinds]

    @property
    def macs(self) -> int:
        """Dense MACs of all convolutions and linear layers."""
        return sum(layer.macs for layer in self.of("conv", "linear"))

    @property
    def neurons(self) -> int:
        return sum(layer.outputs for layer in self.of("neuron"))


def count_operations(network: nn.Module, frames: torch.Tensor) -> Operations:
    """Count what a network does with some frames, by running it on them once in evaluation mode.

    A layer's input is binary where it is a spiking layer's output, or the largest of 2x2 of these; dropout is off. A
    layer that is called several times counts each time.

    Args:
        network: Any that maps sequences to logits; its mode and running statistics stay as they are.
        frames: (T, B, channels, H, W), float, on the network's device. One step of one sample suffices, unless a
            neuron is bound to T; ones, so that layers in which nothing happens are not taken for spiking.
    """
    watch = _Watch(frames.shape[0] * frames.shape[1])
    with ExitStack() as stack:
        stack.enter_context(_evaluating(network))
        for name, module, kind in _layers(network):
            hook = module.register_forward_hook(watch.hook(name, kind))
            stack.callback(hook.remove)
        with torch.no_grad(), _Copies(watch):
            network(frames)
    return Operations(tuple(watch.layers.values()), sum(parameter.numel() for parameter in network.parameters()))


def count_run_operations(
    config: RunConfig, network: nn.Module, size: tuple[int, int], timesteps: int, device: torch.device
) -> Operations:
    """As `count_operations`, on one sample of event frames; one step, where no neuron is bound to T.

    Args:
        config: What the network was made of.
        network: On the device.
        size: Height and width of the frames.
        timesteps: T.
        device: Where to compute.
    """
    fixed = config.neuron.name not in NEURONS or traits_of(config.neuron.name).fixed_timesteps
    bound = fixed or is_custom("network.name", config.network.name)
    return count_operations(network, torch.ones((timesteps if bound else 1, 1, 2, *size), device=device))


def macs_per_step(operations: Operations, per_neuron: int) -> int:
    """MACs of one sample in one time step by the rule behind the CLIF paper's Table 6.

    Dense MACs of each layer whose input is not binary (the first, and those behind an average pooling), 4 for each
    output of a 2x2 average pooling, and `per_neuron` for each neuron. In a network of ReLUs no input is binary.

    Args:
        operations: Of `count_operations`.
        per_neuron: See `pipeline.config.neuron_traits.NeuronTraits`.
    """
    dense = sum(layer.macs for layer in operations.of("conv", "linear") if not layer.binary_input)
    return dense + sum(layer.macs for layer in operations.of("pool")) + per_neuron * operations.neurons


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    trains = [module for module in network.modules() if module.training]
    network.eval()
    reset_network(network)
    try:
        yield
    finally:
        reset_network(network)
        for module in trains:
            module.training = True


def _layers(network: nn.Module) -> Iterator[tuple[str, nn.Module, Kind]]:
    """The modules that count; those inside a spiking layer are part of it."""
    neurons = neuron_layers(network)
    kinds: dict[Kind, tuple[type[nn.Module], ...]] = {
        "conv": _CONVOLUTIONS, "linear": (nn.Linear,), "norm": _NORMS, "pool": _POOLS
    }  # fmt: skip
    for name, module in network.named_modules():
        if name in neurons:
            yield name, module, "neuron"
        elif not any(name.startswith(f"{neuron}.") for neuron in neurons):
            for kind, types in kinds.items():
                if isinstance(module, types):
                    yield name, module, kind


class _Watch:
    """Collects layers while a network runs.

    Spikes are known by their memory, which reshaping shares; outputs are kept so that no memory is used twice.
    """

    def __init__(self, images: int) -> None:
        self.layers: dict[str, Layer] = {}
        self._totals: dict[str, tuple[int, int]] = {}
        self._images = images
        self._spikes: dict[int, tuple[torch.Tensor, str]] = {}

    def hook(self, name: str, kind: Kind) -> Any:
        def see(module: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            _, source = self._spikes.get(self._memory(inputs[0]), (None, ""))
            if self._gives_spikes(module, kind, bool(source), out):
                self._spikes[self._memory(out)] = out, name
            macs, outputs = self._totals.get(name, (0, 0))
            macs, outputs = macs + _macs(module, kind, out), outputs + out.numel()
            self._totals[name] = macs, outputs
            if name in self.layers:
                source = source and self.layers[name].source
            weights = sum(parameter.numel() for parameter in module.parameters())
            per_image = round(macs / self._images), weights, round(outputs / self._images)
            self.layers[name] = Layer(name, kind, *per_image, source)

        return see

    def follow(self, source: torch.Tensor, copy: torch.Tensor) -> None:
        """A copy of spikes is spikes."""
        known = self._spikes.get(self._memory(source))
        if known is not None:
            self._spikes[self._memory(copy)] = copy, known[1]

    @staticmethod
    def _memory(x: torch.Tensor) -> int:
        return x.untyped_storage().data_ptr()

    @staticmethod
    def _gives_spikes(module: nn.Module, kind: Kind, binary_input: bool, out: torch.Tensor) -> bool:
        if kind == "neuron":
            # Asked of the numbers, because a layer in a neuron's place may be a ReLU, or spike in several heights.
            return bool(((out == 0) | (out == 1)).all())
        return isinstance(module, _MAX_POOLS) and binary_input


class _Copies(TorchDispatchMode):
    """Tells of copies: flattening makes one of spikes that lie in memory with the channel fastest."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _COPYING:
            self._watch.follow(args[0], out)
        return out


def _macs(module: nn.Module, kind: Kind, out: torch.Tensor) -> int:
    if isinstance(module, _CONVOLUTIONS):
        # Every output is a sum over the kernel and the input channels of its group.
        return out.numel() * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return out.numel() * module.in_features
    return 4 * out.numel() if _averages_2x2(module) else 0


def _averages_2x2(module: nn.Module) -> bool:
    return isinstance(module, AveragePool) or (isinstance(module, nn.AvgPool2d) and module.kernel_size in (2, (2, 2)))
