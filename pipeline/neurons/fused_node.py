"""What our nodes have in common as modules: the backend, the initial states, and protection against recomputation."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from spikingjelly.activation_based.neuron import BaseNode

from pipeline.neurons.backend import Backend, BackendError, spread_states
from pipeline.neurons.recomputation import RunsOnce
from preprocess.errors import ConfigError

# The last three are SpikingJelly's names of its GPU kernels, which existing scripts request.
AnyBackend = Literal[Backend, "cupy", "triton", "inductor"]


class FusedNode(RunsOnce, BaseNode):
    """The base class of our nodes, to be listed before the SpikingJelly node that each replaces."""

    _backend: AnyBackend = "auto"
    _states = 1
    """How many memories are the neuron's; those that a subclass registers are its own matter."""

    @property
    def backend(self) -> AnyBackend:
        """The requested backend.

        ``auto`` runs fused where possible, ``torch`` never, ``fused`` always; SpikingJelly's ``cupy``, ``triton`` and
        ``inductor`` behave as ``auto``.

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
        """The valid values of `backend`, which SpikingJelly 1's `functional.set_backend` reads."""
        return get_args(AnyBackend)

    @property
    def fused_backend(self) -> Backend:
        """The effective backend: ``auto``, ``fused`` or ``torch``."""
        return self._backend if self._backend in ("fused", "torch") else "auto"

    def materialize_states(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], step_mode: str
    ) -> tuple[Any, ...]:
        """SpikingJelly's hook for states that are still numbers.

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
