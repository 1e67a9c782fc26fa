"""The section `neuron`: the spiking neuron, with the default of each field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.config.neurons import NEURONS, traits_of
from pipeline.config.surrogates import surrogate_errors


@dataclass(frozen=True)
class NeuronConfig:
    """The spiking neuron. The defaults are the CLIF paper's settings for both LIF and CLIF."""

    name: str = "lif"
    """A built-in neuron, such as lif, clif, plif or psn, or your own class: file.py:Class or package.module:Class."""
    tau: float = 2.0
    """Membrane time constant in time steps; greater than 1."""
    surrogate: str = "rect"
    """Surrogate function whose derivative replaces that of the spike in the backward pass: rect, triangle, sigmoid,
    atan, or a registered name."""
    alpha: float = 1.0
    """Sharpness of the surrogate, as in SpikingJelly: rect is alpha where |x| < 0.5 / alpha, else 0."""
    v_threshold: float = 1.0
    """Firing threshold of the membrane potential."""
    reset: Literal["soft", "hard"] = "soft"
    """After a spike: subtract v_threshold from the potential (soft), or set it to 0 (hard; lif, plif, klif and if
    only)."""
    decay_input: bool = False
    """Divide the input by tau (lif, plif and klif only)."""
    detach_reset: bool = False
    """Stop the gradient through the reset (lif, plif, klif and if only)."""
    temporal_window: int | None = None
    """Maximum number of time steps through which gradients flow back inside a neuron (default: no limit). 0: each step
    is trained alone, as in SLTT. Not for plif, klif, if and the neurons without a membrane potential."""
    truncation: Literal["block", "sliding"] = "block"
    """How temporal_window = h cuts gradients. block: between blocks of h + 1 steps. sliding: from step t' to step t if
    t' - t > h, at h + 1 times the work and memory of the neurons."""
    backend: Literal["auto", "fused", "torch"] = "auto"
    """fused: one kernel for all time steps. torch: PyTorch operations. auto: fused where the neuron has it."""
    timesteps: int | None = None
    """T, for neurons with weights for each time step (glif, psn). Not an option: the network takes it from the
    frames."""

    def errors(self) -> Iterator[str]:
        """A line for every field that is out of range or that the neuron does not have."""
        if not 1.0 < self.tau < math.inf:
            yield f"neuron.tau: expected more than 1 time step, found {self.tau}"
        if not 0 < self.alpha < math.inf:
            yield f"neuron.alpha: expected more than 0, found {self.alpha}"
        if not 0 < self.v_threshold < math.inf:
            yield f"neuron.v_threshold: expected more than 0, found {self.v_threshold}"
        if self.timesteps is not None and self.timesteps < 1:
            yield f"neuron.timesteps: expected at least 1, found {self.timesteps}"
        if self.temporal_window is not None and self.temporal_window < 0:
            yield f"neuron.temporal_window: expected at least 0 time steps, found {self.temporal_window}"
        yield from surrogate_errors(self.surrogate)
        yield from self._trait_errors()

    @property
    def title(self) -> str:
        """For tables: the name, and tau where the neuron has one, such as ``lif, tau 2``."""
        parts = [self.name]
        if traits_of(self.name).has_tau:
            parts.append(f"tau {self.tau:g}")
        if self.reset != "soft":
            parts.append(f"{self.reset} reset")
        if self.temporal_window is not None:
            sliding = "sliding " if self.truncation == "sliding" and self.temporal_window else ""
            parts.append(f"{sliding}window {self.temporal_window}")
        return ", ".join(parts)

    def _trait_errors(self) -> Iterator[str]:
        """A line for each of these that the neuron does not accept; every neuron accepts tau and v_threshold."""
        for name in ("reset", "detach_reset", "decay_input", "temporal_window"):
            value, default = getattr(self, name), getattr(NeuronConfig, name)
            if value != default and not traits_of(self.name).accepts(name):
                others = ", ".join(other for other, neuron in NEURONS.items() if neuron.traits.accepts(name))
                yield (
                    f"neuron.{name}: expected {default} for neuron '{self.name}', found {value}. "
                    f"Neurons that accept it: {others}."
                )
