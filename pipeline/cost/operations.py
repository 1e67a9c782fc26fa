"""Count the operations of a network for one time step of one sample: MACs, neurons and parameters of each layer.

A MAC is one multiplication and addition. Only layers that are PyTorch modules are counted: convolutions, linear layers,
poolings, spiking layers, and the products and sums of attention (`pipeline.layers.spike_products`). Operations that a
custom network implements with functions are not counted. Batch norm counts as zero, because it can be folded into the
preceding layer, and so do the additions of shortcuts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config.custom_classes import is_custom
from pipeline.config.neurons import NEURONS, traits_of
from pipeline.config.run_config import RunConfig
from pipeline.kernels.tensors import is_repeated, repeated
from pipeline.layers.dense import RecurrentNeuron
from pipeline.layers.pooling import AveragePool, MaxPool
from pipeline.layers.spike_products import SpikeMask, SpikeProduct, TokenSum
from pipeline.networks.spiking_layers import neuron_layers, reset_network

Kind = Literal["conv", "linear", "product", "mask", "sum", "norm", "pool", "neuron"]
MULTIPLYING: tuple[Kind, ...] = ("conv", "linear", "product", "mask")
"""Layers that multiply, unless their input is binary."""
ADDING: tuple[Kind, ...] = ("conv", "linear", "product", "sum")
"""Layers that add something for each spike of a binary input. To mask spikes with spikes takes neither."""

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
        name: Dotted name, as in the network's state dict.
        kind: Kind of the layer.
        macs: Dense MACs of a convolution, linear layer or matrix product; 1 for each output of a mask and each input of
            a sum over tokens; 4 for each output of a 2x2 average pooling; 0 for all others.
        parameters: Number of parameters.
        outputs: Number of output elements; for a spiking layer, the number of neurons.
        source: The spiking layer, or the pooling or mask after it, if the layer's inputs are only its spikes, 0 or 1,
            so that no multiplications are required; "" for other inputs. For a matrix product, its first operand
            counts, and a mask must have two such inputs.
        once: Whether it is computed once for all time steps, because its input is the same in each of them, as static
            images are. `macs` and `outputs` are those of this computation.
    """

    name: str
    kind: Kind
    macs: int
    parameters: int
    outputs: int
    source: str
    once: bool = False

    @property
    def binary_input(self) -> bool:
        """Whether its inputs are only spikes."""
        return bool(self.source)


@dataclass(frozen=True)
class Operations:
    """The operations of a network.

    Attributes:
        layers: All layers, in the order in which they are called.
        parameters: Number of parameters of the network; shared ones are counted once.
    """

    layers: tuple[Layer, ...]
    parameters: int

    def of(self, *kinds: Kind) -> list[Layer]:
        """Return the layers of these kinds."""
        return [layer for layer in self.layers if layer.kind in kinds]

    @property
    def macs(self) -> int:
        """Dense MACs of all convolutions, linear layers and products."""
        return sum(layer.macs for layer in self.of(*MULTIPLYING))

    @property
    def once_macs(self) -> int:
        """The part of `macs` that is computed once for all time steps."""
        return sum(layer.macs for layer in self.of("conv", "linear") if layer.once)

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return sum(layer.outputs for layer in self.of("neuron"))


def count_operations(network: nn.Module, frames: torch.Tensor, *, static: bool = False) -> Operations:
    """Count the operations of a network by running it once in evaluation mode.

    The input of a layer is binary if it is the output of a spiking layer, or the max pooling of one; dropout is off. A
    layer that is called several times is counted each time.

    Args:
        network: Any network that maps sequences to logits; its mode and running statistics do not change.
        frames: (T, B, channels, H, W), float, on the network's device. One step of one sample suffices, unless the
            neurons require a certain T. Use ones, because outputs that are all zero would be mistaken for spikes.
        static: Whether all time steps of the input are the same, which marks the layers that are computed once.
    """
    watch = _run(network, frames)
    layers = tuple(watch.layers.values())
    if static:
        several = repeated(frames[0], max(2, len(frames)))
        computed = _run(network, several).elements
        # A layer that is computed once has the outputs of one step for all of them.
        layers = tuple(
            replace(layer, once=computed[layer.name] * len(frames) < watch.elements[layer.name] * len(several))
            for layer in layers
        )
    return Operations(layers, sum(parameter.numel() for parameter in network.parameters()))


def _run(network: nn.Module, frames: torch.Tensor) -> _Watch:
    watch = _Watch(frames.shape[0] * frames.shape[1])
    with ExitStack() as stack:
        stack.enter_context(evaluating(network))
        for name, module, kind in _layers(network):
            hook = module.register_forward_hook(watch.hook(name, kind))
            stack.callback(hook.remove)
        with torch.no_grad(), _Copies(watch):
            network(frames)
    return watch


def count_run_operations(
    config: RunConfig, network: nn.Module, size: tuple[int, int], timesteps: int, device: torch.device
) -> Operations:
    """As `count_operations`, with one sample, and one time step unless the network requires T.

    Args:
        config: Configuration of the network, and of the frames' channels.
        network: The network, on the device.
        size: Height and width of the frames.
        timesteps: T.
        device: Device of the network.
    """
    frames = probe_frames(config, size, timesteps, device)
    return count_operations(network, frames, static=config.input.static)


def probe_frames(config: RunConfig, size: tuple[int, int], timesteps: int, device: torch.device) -> torch.Tensor:
    """Frames of ones to run a network once: one sample, and one time step unless the network requires T.

    Args:
        config: Configuration of the network, and of the frames' channels.
        size: Height and width of the frames.
        timesteps: T.
        device: Device of the network.

    Returns:
        float32, shape (1 or T, 1, channels, H, W).
    """
    fixed = config.neuron.name not in NEURONS or traits_of(config.neuron.name).fixed_timesteps
    bound = fixed or is_custom("network.name", config.network.name)
    return torch.ones((timesteps if bound else 1, 1, config.input.channels, *size), device=device)


def macs_per_step(operations: Operations, per_neuron: int) -> int:
    """MACs for one sample in one time step, counted as in the CLIF paper's Table 6.

    Dense MACs of each layer whose input is not binary (the first layer, and those after an average pooling or a sum of
    spikes), 4 for each output of a 2x2 average pooling, and `per_neuron` for each neuron. In a network of ReLUs, no
    input is binary.

    Args:
        operations: As returned by `count_operations`.
        per_neuron: See `pipeline.config.neurons.NeuronTraits`.
    """
    dense = sum(layer.macs for layer in operations.of(*MULTIPLYING) if not layer.binary_input)
    return dense + sum(layer.macs for layer in operations.of("pool")) + per_neuron * operations.neurons


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """A context with the network in evaluation mode; its state is reset on entry and exit."""
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
    """Iterate over the modules to count; modules inside a spiking layer are part of it."""
    neurons = neuron_layers(network)
    kinds: dict[Kind, tuple[type[nn.Module], ...]] = {
        "conv": _CONVOLUTIONS, "linear": (nn.Linear,), "norm": _NORMS, "pool": _POOLS,
        "product": (SpikeProduct,), "mask": (SpikeMask,), "sum": (TokenSum,),
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

    Spikes are identified by their memory, which reshaping does not change; outputs are kept so that their memory is not
    reused.
    """

    def __init__(self, images: int) -> None:
        self.layers: dict[str, Layer] = {}
        self.elements: dict[str, int] = {}
        self._totals: dict[str, tuple[int, int]] = {}
        self._images = images
        self._spikes: dict[int, tuple[torch.Tensor, str]] = {}

    def hook(self, name: str, kind: Kind) -> Any:
        def see(module: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            operands = inputs if kind == "mask" else inputs[:1]
            sources = [self._spikes.get(self._memory(operand), (None, ""))[1] for operand in operands]
            source = sources[0] if all(sources) else ""
            gives_spikes = self._gives_spikes(module, kind, bool(source), out)
            if gives_spikes:
                self._spikes[self._memory(out)] = out, name
            macs, outputs = self._totals.get(name, (0, 0))
            macs, outputs = macs + _macs(module, inputs, out), outputs + out.numel()
            self._totals[name] = macs, outputs
            self.elements[name] = self.elements.get(name, 0) + (out[0] if is_repeated(out) else out).numel()
            if name in self.layers:
                source = source and self.layers[name].source
            weights = sum(parameter.numel() for parameter in module.parameters())
            if isinstance(module, RecurrentNeuron):
                weights -= self._see_recurrent(f"{name}.recurrent", module.recurrent, name if gives_spikes else "")
            per_image = round(macs / self._images), weights, round(outputs / self._images)
            self.layers[name] = Layer(name, kind, *per_image, source)

        return see

    def _see_recurrent(self, name: str, module: nn.Linear, source: str) -> int:
        """Record the connections of a recurrent layer, whose inputs are its own outputs; returns their number."""
        count = module.weight.numel()
        self.layers[name] = Layer(name, "linear", count, count, module.out_features, source)
        self.elements[name] = self.elements[name.removesuffix(".recurrent")]
        return count

    def follow(self, source: torch.Tensor, copy: torch.Tensor) -> None:
        """Record that a tensor is a copy of another one, because a copy of spikes is spikes."""
        known = self._spikes.get(self._memory(source))
        if known is not None:
            self._spikes[self._memory(copy)] = copy, known[1]

    @staticmethod
    def _memory(x: torch.Tensor) -> int:
        return x.untyped_storage().data_ptr()

    @staticmethod
    def _gives_spikes(module: nn.Module, kind: Kind, binary_input: bool, out: torch.Tensor) -> bool:
        if kind == "neuron":
            # The values are tested, because the layer may be a ReLU or have spikes of several amplitudes.
            return bool(((out == 0) | (out == 1)).all())
        return isinstance(module, (*_MAX_POOLS, SpikeMask)) and binary_input


class _Copies(TorchDispatchMode):
    """Records copies: flattening copies spikes in channels-last memory format."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise PyTorch imports its compiler, two seconds in every training process, to exclude this class from it.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _COPYING:
            self._watch.follow(args[0], out)
        return out


def _macs(module: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> int:
    if isinstance(module, _CONVOLUTIONS):
        # Each output is a sum over the kernel and the input channels of its group.
        return out.numel() * module.weight[0].numel()
    if isinstance(module, (nn.Linear, SpikeProduct)):
        return out.numel() * inputs[0].shape[-1]
    if isinstance(module, TokenSum):
        return inputs[0].numel()
    if isinstance(module, SpikeMask):
        return out.numel()
    return 4 * out.numel() if _averages_2x2(module) else 0


def _averages_2x2(module: nn.Module) -> bool:
    return isinstance(module, AveragePool) or (isinstance(module, nn.AvgPool2d) and module.kernel_size in (2, (2, 2)))
