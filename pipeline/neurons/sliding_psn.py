"""Sliding PSN: a parallel spiking neuron that sees the last k inputs only, with the same weights at every step."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import surrogate
from torch import nn

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.neurons.recomputation import RunsOnce


class SlidingPSN(RunsOnce):
    """The sliding parallel spiking neuron (Fang et al., NeurIPS 2023).

    h[t] = sum over i < k of w[i] x[t - k + 1 + i] + b; s[t] = 1 where h[t] >= 0, else 0; inputs before the first are 0.
    It equals SpikingJelly's `SlidingPSN` and has its parameters, but a sequence also continues from the last inputs of
    the one before, until the reset.

    Args:
        k: Number of inputs that a step sees. 2, as in the authors' code for CIFAR10-DVS.
        surrogate_function: Surrogate gradient of the spike.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).

    Attributes:
        weight: w, (k,), shared by a layer; at first 1 for the present, and half as much for each step into the past.
        bias: b, the negative threshold, shared by a layer; -1 at first.
    """

    def __init__(
        self, k: int = 2, surrogate_function: surrogate.SurrogateFunctionBase | None = None, step_mode: str = "s"
    ) -> None:
        super().__init__()
        self.k, self.step_mode = k, step_mode
        self.surrogate_function = surrogate_function or surrogate.ATan()
        self.weight = nn.Parameter(0.5 ** torch.arange(k - 1.0, -1.0, -1.0))
        self.bias = nn.Parameter(torch.tensor(-1.0))
        self.register_memory("past", None)

    def materialize_states(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], step_mode: str
    ) -> tuple[Any, ...]:
        """SpikingJelly's hook for the state before the first input: the last k - 1 inputs, (k - 1, B, ...)."""
        x = inputs[0][0] if step_mode == "m" else inputs[0]
        (past,) = states
        # Sums are at least as precise as float32.
        dtype = torch.promote_types(x.dtype, torch.float32)
        if past is None or past.shape[1:] != x.shape:
            return (torch.zeros((), dtype=dtype, device=x.device).expand(self.k - 1, *x.shape),)
        return (past.to(dtype),)

    def single_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for one step: x (B, ...) and the last inputs to spikes and the new last inputs."""
        (spikes,), after = self.multi_step_functional_forward((inputs[0][None],), states)
        return (spikes[0],), after

    def multi_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for a sequence: x (T, B, ...) and the last inputs to spikes and the new last inputs."""
        (x,), (past,) = inputs, states
        seen = torch.cat([past, x.to(past.dtype)])
        h = self.bias.expand(x.shape)
        for i, weight in enumerate(self.weight):
            h = h + weight * seen[i : i + len(x)]
        return (self.surrogate_function(h).to(x.dtype),), (seen[len(x) :],)

    def extra_repr(self) -> str:
        """The order, and SpikingJelly's step mode."""
        return f"{super().extra_repr()}, order={self.k}"


def make_sliding_psn(config: NeuronConfig) -> SlidingPSN:
    """Sliding PSN of two inputs with its own initial weights; tau and v_threshold have no effect."""
    return SlidingPSN(surrogate_function=make_surrogate(config), step_mode="m")
