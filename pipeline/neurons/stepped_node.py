"""The base class of neurons that are one time step in PyTorch, run step by step over a sequence."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import surrogate
from spikingjelly.activation_based.neuron import BaseNode

from pipeline.neurons.backend import step_by_step
from pipeline.neurons.recomputation import RunsOnce
from pipeline.neurons.truncation import Truncation, check_window, in_windows


class SteppedNode(RunsOnce, BaseNode):
    """A neuron that implements `step`; states are float32 for inputs of 16 bits, and of the input's type otherwise.

    Args:
        v_threshold: The threshold.
        surrogate_function: Surrogate gradient of the spike; None for the rectangle of width 1.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).
        temporal_window: Maximum number of time steps through which gradients flow back; None for no limit.
        truncation: As in `pipeline.neurons.truncation`.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        surrogate_function: surrogate.SurrogateFunctionBase | None = None,
        step_mode: str = "s",
        *,
        temporal_window: int | None = None,
        truncation: Truncation = "block",
    ) -> None:
        check_window(temporal_window, stores=False)
        super().__init__(v_threshold, None, surrogate_function or surrogate.Rect(alpha=1.0), False, step_mode)
        self.temporal_window, self.truncation = temporal_window, truncation

    def step(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Input current and states, each (B, ...), to spikes and the new states, in the order of registration."""
        raise NotImplementedError

    def materialize_states(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], step_mode: str
    ) -> tuple[Any, ...]:
        """SpikingJelly's hook for states that are still numbers, or those of another batch size."""
        x = inputs[0][0] if step_mode == "m" else inputs[0]
        dtype, rests = _state_dtype(x), self._memories_rv.values()

        def whole(state: Any, rest: float) -> torch.Tensor:
            if isinstance(state, torch.Tensor) and state.shape == x.shape:
                return state.to(dtype)
            value = rest if isinstance(state, torch.Tensor) else state
            return torch.full((), value, dtype=dtype, device=x.device).expand(x.shape)

        return tuple(whole(state, rest) for state, rest in zip(states, rests, strict=True))

    def single_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for one step: x and the states (B, ...) to spikes and the new states."""
        (x,) = inputs
        spikes, *after = self.step(x.to(_state_dtype(x)), *states)
        return (spikes.to(x.dtype),), tuple(after)

    def multi_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for a whole sequence: x (T, B, ...) and states (B, ...) to spikes and the new states."""
        (x,) = inputs
        (spikes,), after = in_windows(
            self.temporal_window,
            self.truncation,
            x.to(_state_dtype(x)),
            states,
            lambda part, before: step_by_step(self, part, before),
        )
        return (spikes.to(x.dtype),), after


def _state_dtype(x: torch.Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
