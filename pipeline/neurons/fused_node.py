"""What our nodes share as modules: the backend by name, the states they begin with, and that they run once."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from spikingjelly.activation_based.neuron import BaseNode

from pipeline.neurons.fused import Backend, BackendError, spread_states
from pipeline.neurons.recomputation import RunsOnce
from preprocess.errors import ConfigError

# SpikingJelly's names for its kernels on a GPU, which scripts written for it ask for.
AnyBackend = Literal[Backend, "cupy", "triton", "inductor"]


class FusedNode(RunsOnce, BaseNode):
    """The base of our nodes, in front of SpikingJelly's node that each stands for."""

    _backend: AnyBackend = "auto"
    _states = 1
    """How many memories are the neuron's; those that a subclass registers are its own matter."""

    @property
    def backend(self) -> AnyBackend:
        """The backend that was asked for.

        ``auto`` runs fused where it can, ``torch`` never, ``fused`` always; SpikingJelly's ``cupy``, ``triton`` and
        ``inductor`` run what ``auto`` runs.

        Raises:
            BackendError: If set to another name.
        """
        return self._backend

    @backend.setter
    def backend(self, value: AnyBackend) -> None:
        if value not in self.supported_backends:
            *names, last = self.supported_backends
            raise BackendError(f"backend: expected {', '.join(names)} or {last}, found {value!r}")
        self._backend = value

    @property
    def supported_backends(self) -> tuple[str, ...]:
        """What `backend` may be set to; SpikingJelly 1's `functional.set_backend` asks for it."""
        return get_args(AnyBackend)

    @property
    def fused_backend(self) -> Backend:
        """What `backend` comes to: ``auto``, ``fused`` or ``torch``."""
        return self._backend if self._backend in ("fused", "torch") else "auto"

    def materialize_states(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], step_mode: str
    ) -> tuple[Any, ...]:
        """SpikingJelly's hook for states that are numbers still.

        Raises:
            ConfigError: If a sequence has no time step.
        """
        if step_mode == "m" and inputs[0].shape[0] == 0:
            raise ConfigError(
                f"{type(self).__name__}: expected a sequence (T, B, ...) of at least one time step, found shape "
                f"{tuple(inputs[0].shape)}. Leave empty sequences out."
            )
        ours, others = states[: self._states], states[self._states :]
        states = *spread_states(self, inputs, ours, step_mode), *others
        return super().materialize_states(inputs, states, step_mode)
