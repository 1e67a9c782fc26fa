"""Tests custom neurons and networks against what training requires, before any training.

A neuron maps (T, B, ...) to spikes of the same shape; a network maps frames (T, B, C, H, W) to logits
(T, B, classes), where C is 2, or 1 if `input.polarity` leaves one channel; `reset()` clears everything that a module
keeps between batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from pipeline.config.custom_classes import is_custom, reason_of, source_of
from pipeline.config.run_config import RunConfig
from pipeline.networks.spiking_layers import neuron_layers, reset_network
from preprocess.errors import ConfigError

_STEPS = 3


def check_own_classes(
    network: nn.Module,
    config: RunConfig,
    *,
    classes: int,
    size: tuple[int, int],
    timesteps: int,
    device: torch.device,
    leave_cuda: bool = False,
) -> None:
    """Run two tiny batches through a network that is custom or has custom neurons; the network does not change.

    Networks with lazy modules of torch, which have no weights before their first forward pass, are not tested.

    Args:
        network: The network, on the device.
        config: Its configuration.
        classes: Number of logits.
        size: Height and width of a frame.
        timesteps: T.
        device: Device of the network.
        leave_cuda: Whether to accept code that fails here for lack of CUDA.

    Raises:
        ConfigError: One line with the name of the class and what it must return or have.
    """
    if not (is_custom("neuron.name", config.neuron.name) or is_custom("network.name", config.network.name)):
        return
    if any(map(is_lazy, network.parameters())):
        # Weights that are not initialised have no gradients to switch off.
        return
    if not any(True for _ in network.parameters()):
        raise ConfigError(
            f"network.name: expected a network with parameters to train, found '{config.network.name}' without any. "
            "Assign its layers to attributes of the module, or use nn.ModuleList."
        )
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with _unchanged(network, device):
        try:
            _Probe(network, config, classes, size, min(timesteps, _STEPS), device).run(trainable)
        except (_OwnError, ConfigError):
            # A class may only work with one T.
            try:
                _Probe(network, config, classes, size, timesteps, device).run(trainable)
            except _OwnError as error:
                if not (leave_cuda and error.asks_for_cuda):
                    raise ConfigError(str(error)) from None


class _OwnError(Exception):
    """What a custom class does wrong, in one line."""

    def __init__(self, text: str, *, asks_for_cuda: bool = False) -> None:
        super().__init__(text)
        self.asks_for_cuda = asks_for_cuda


class _Probe:
    """A test of a network with a number of time steps."""

    def __init__(
        self,
        network: nn.Module,
        config: RunConfig,
        classes: int,
        size: tuple[int, int],
        steps: int,
        device: torch.device,
    ) -> None:
        self._network, self._config = network, config
        # B differs from T, so that (B, T, classes) is not mistaken for (T, B, classes).
        self._expected = (steps, 3 if steps == 2 else 2, classes)
        self._frames = 4 * torch.rand((*self._expected[:2], config.input.channels, *size), device=device)
        layers = neuron_layers(network) if is_custom("neuron.name", config.neuron.name) else {}
        # A custom network may also contain nodes that it made itself.
        self._neurons = {name: module for name, module in layers.items() if getattr(module, "is_neuron", False)}
        self._wrong_shape = ""
        self._blocks_gradient = False
        self._spikes: dict[str, list[torch.Tensor]] = {name: [] for name in self._neurons}

    def run(self, trainable: list[nn.Parameter]) -> None:
        """Raise _OwnError at the first thing that is wrong; `trainable` are the parameters to be trained."""
        hooks = [
            module.register_forward_hook(lambda _m, inputs, out, name=name: self._see(name, inputs, out))
            for name, module in self._neurons.items()
        ]
        try:
            # Only the first batch needs a gradient; one in the second shows that something was kept of the first.
            self._check_logits(self._forward(self._frames.clone().requires_grad_()))
            again = self._forward(self._frames)
        finally:
            for hook in hooks:
                hook.remove()
            reset_network(self._network)
        self._check_state(again)
        if trainable:
            self._check_gradient(trainable)

    def _forward(self, frames: torch.Tensor) -> Any:
        torch.manual_seed(0)
        reset_network(self._network)
        return self._call(self._network, frames)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (_OwnError, ConfigError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # whatever the user's code raises
            if "can't allocate memory" in str(error):
                raise
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> _OwnError:
        if self._wrong_shape:
            return _OwnError(self._wrong_shape)
        names = {"network.name": self._config.network.name, "neuron.name": self._config.neuron.name}
        own = {field: name for field, name in names.items() if is_custom(field, name)}
        reasons = {field: reason_of(error, source_of(field, name)) for field, name in own.items()}
        # The one in whose file it happened, else the last one.
        field = next((field for field in reasons if ", in line " in reasons[field]), next(reversed(reasons)))
        shape = tuple(self._frames.shape)
        text = f"{field}: '{own[field]}' fails on frames (T, B, channels, H, W) = {shape} ({reasons[field]})"
        asks = any(word in str(error).lower() for word in ("cuda", "triton", "nvidia"))
        return _OwnError(text, asks_for_cuda=asks)

    def _see(self, name: str, inputs: tuple[Any, ...], out: Any) -> None:
        if not inputs:
            return
        current = inputs[0]
        fits = isinstance(out, torch.Tensor) and out.shape == current.shape and out.is_floating_point()
        if not fits:
            self._wrong_shape = self._wrong_shape or (
                f"neuron.name: '{self._config.neuron.name}' must return spikes as one floating-point tensor of its "
                f"input's shape (T, B, ...) = {tuple(current.shape)}, found {_describe(out)}"
            )
            # A custom network may handle it.
            if not is_custom("network.name", self._config.network.name):
                raise _OwnError(self._wrong_shape)
        else:
            self._spikes[name].append(out.detach())
            self._blocks_gradient |= current.requires_grad and not out.requires_grad

    def _check_logits(self, logits: Any) -> None:
        if isinstance(logits, torch.Tensor) and logits.shape == self._expected:
            return
        averaged = _describe(logits) == str(self._expected[1:])
        raise _OwnError(
            f"network.name: '{self._config.network.name}' must return logits (T, B, classes) = {self._expected}, a row "
            f"for each time step, found {_describe(logits)}"
            f"{'. Leave the mean over time to the loss and the prediction' if averaged else ''}"
        )

    def _check_state(self, again: torch.Tensor) -> None:
        for name, module in self._neurons.items():
            # One half is from the first batch, the other from its repetition; a shared layer is called several times.
            spikes = self._spikes[name]
            first, second = spikes[: len(spikes) // 2], spikes[len(spikes) // 2 :]
            kept = len(first) == len(second) and not all(map(torch.equal, first, second))
            if (kept or again.requires_grad) and not callable(getattr(module, "reset", None)):
                raise _OwnError(_needs_reset("neuron.name", self._config.neuron.name, "it has none"))
        if again.requires_grad:
            # A neuron whose reset clears too little, or anything in a custom network.
            field, name = ("neuron.name", self._config.neuron.name)
            if not self._neurons:
                field, name = ("network.name", self._config.network.name)
            raise _OwnError(_needs_reset(field, name, "but state of the previous batch is left after it"))

    def _check_gradient(self, trainable: list[nn.Parameter]) -> None:
        """The logits must have a gradient, and custom neurons must not keep it from layers that are to be trained."""
        for parameter in trainable:
            parameter.requires_grad_(True)
        try:
            logits = self._forward(self._frames)
            if logits.requires_grad:
                total = logits.float().sum()
                gradients = self._call(partial(torch.autograd.grad, allow_unused=True), total, trainable)
            else:
                gradients = (None,) * len(trainable)
        finally:
            for parameter in trainable:
                parameter.requires_grad_(False)
            reset_network(self._network)
        without = sum(gradient is None for gradient in gradients)
        if without and self._blocks_gradient:
            raise _OwnError(
                f"neuron.name: '{self._config.neuron.name}' must pass on a gradient, found spikes without one: "
                f"{without} of {len(trainable)} trainable parameters would never change. Compute the spikes with a "
                "surrogate of spikingjelly.activation_based.surrogate"
            )
        if without == len(trainable):
            raise _OwnError(
                f"network.name: '{self._config.network.name}' must return logits with a gradient, found none of its "
                f"{without} trainable parameters in it. Remove detach() or torch.no_grad() between weights and logits"
            )


def _needs_reset(field: str, name: str, found: str) -> str:
    return (
        f"{field}: '{name}' must have a method reset() that clears what it keeps from one batch to the next, {found}. "
        "Add it, or derive from spikingjelly.activation_based.base.MemoryModule"
    )


def _describe(out: Any) -> str:
    if isinstance(out, torch.Tensor):
        return str(tuple(out.shape)) + ("" if out.is_floating_point() else f" of {out.dtype}")
    return f"a {type(out).__name__}"


@contextmanager
def _unchanged(network: nn.Module, device: torch.device) -> Iterator[None]:
    """The network in training mode without gradients of its weights; all is restored, including random states."""
    training = {module: module.training for module in network.modules()}
    learns = {parameter: parameter.requires_grad for parameter in network.parameters()}
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    network.train().requires_grad_(False)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
            yield
    finally:
        for module, trains in training.items():
            module.training = trains
        for parameter, needs in learns.items():
            parameter.requires_grad_(needs)
        for buffer, before in buffers:
            buffer.copy_(before)
