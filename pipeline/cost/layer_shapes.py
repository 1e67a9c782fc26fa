"""Shapes of the layers of a network: what models of memory accesses need to know besides numbers of operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from pipeline.cost.operations import evaluating
from pipeline.cost.synaptic_operations import input_dims


@dataclass(frozen=True)
class LayerShape:
    """A convolution or linear layer, for one sample in one time step.

    Attributes:
        name: Dotted name, as in the network's state dict.
        kind: conv or linear.
        inputs: (C, ...) of a convolution, (features,) of a linear layer.
        outputs: The same of its output.
        kernel: Size of the kernel; () of a linear layer.
        stride: Stride along the first dimension; 1 of a linear layer.
        groups: Groups of channels that are connected; 1 of a linear layer.
        parameters: Number of weights and biases.
    """

    name: str
    kind: Literal["conv", "linear"]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: int = 1
    groups: int = 1
    parameters: int = 0

    @property
    def input_elements(self) -> int:
        """Number of input elements per image and time step."""
        return math.prod(self.inputs)

    @property
    def output_elements(self) -> int:
        """Number of output elements per image and time step."""
        return math.prod(self.outputs)

    @property
    def channels_out(self) -> int:
        """Number of output channels, or of output features of a linear layer."""
        return self.outputs[0]

    @property
    def kernel_size(self) -> int:
        """Number of taps of the kernel; 1 of a linear layer."""
        return math.prod(self.kernel)

    @property
    def products_per_output(self) -> int:
        """Inputs that an output is a sum of, those of padding included."""
        return self.inputs[0] // self.groups * self.kernel_size


def layer_shapes(network: nn.Module, frames: torch.Tensor) -> dict[str, LayerShape]:
    """The shape of each convolution and linear layer by name, in the order in which they run; runs the network once.

    Args:
        network: Any network; its mode does not change.
        frames: (T, B, channels, H, W), float, on the network's device; one step of one sample suffices.
    """
    found: dict[str, LayerShape] = {}
    hooks: list[Any] = []

    def see(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            dims = input_dims(module)
            found.setdefault(name, _shape(name, module, tuple(inputs[0].shape[-dims:]), tuple(out.shape[-dims:])))

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            hooks.append(module.register_forward_hook(see(name)))
    try:
        with evaluating(network), torch.no_grad():
            network(frames)
    finally:
        for hook in hooks:
            hook.remove()
    # A recurrent connection does not run in the first step.
    for name, module in network.named_modules():
        if name not in found and isinstance(module, nn.Linear):
            found[name] = _shape(name, module, (module.in_features,), (module.out_features,))
    return found


def _shape(name: str, module: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> LayerShape:
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if isinstance(module, nn.Linear):
        return LayerShape(name, "linear", inputs, outputs, parameters=parameters)
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    return LayerShape(
        name, "conv", inputs, outputs, tuple(module.kernel_size), module.stride[0], module.groups, parameters
    )
