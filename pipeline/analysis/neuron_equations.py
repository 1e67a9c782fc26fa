"""The equations of neurons with LIF's membrane, from which analyses calculate what a node keeps inside.

u[t] = keep v[t-1] + gain x[t] + offset; s[t] = 1 where u[t] >= v_th, else 0; without m, v[t] = u[t] - reset s[t] (soft)
or v_reset where s[t] = 1 (hard). CLIF adds m[t] = m[t-1] sigma(u[t] / tau) + s[t] and resets by v_th + sigma(m[t])
(Huang et al., ICML 2024, Eqs. 1-3 and Algorithm 1; `pipeline.neurons` has the nodes and their kernels). PLIF is LIF
with a learnt tau (Fang et al., ICCV 2021), and IF is LIF with an infinite one. KLIF's u contains its learnt slope k, as
keep and gain do, and KLIF fires and resets by max(u, 0) instead of u (Jiang and Zhang, 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from spikingjelly.activation_based import neuron as sj_neurons
from torch import nn

from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import CLIFNode, LIFNode, make_neuron
from pipeline.neurons.control_neurons import UndecayedCLIFNode
from preprocess.errors import ConfigError

# Neurons by name whose nodes have these equations: with the constants of a configuration, and with constants that are
# learnt in each layer.
DEFINED = ("lif", "clif", "lif-reset1.8", "clif-detached", "clif-undecayed", "if")
LEARNT = ("plif", "klif")

# Why other neurons are not among them, by the name of their class.
_OTHERS = {
    "PSN": "PSN, which keeps no potential from step to step, so that u[t] has no temporal part",
    "SlidingPSN": "SlidingPSN, which keeps no potential from step to step, so that u[t] has no temporal part",
    "ReLU": "ReLU, which does not spike",
    "RecurrentNeuron": "RecurrentNeuron, whose spikes reach its later steps through other neurons",
}

Adaptation = Literal["none", "decayed", "undecayed"]


@dataclass(frozen=True)
class Equations:
    """The constants of a neuron.

    Attributes:
        tau: Time constant in time steps; infinite without a leak.
        gain: Factor of the input.
        offset: Added to u at each step.
        v_threshold: v_th.
        v_reset: The potential after a spike; None for a soft reset.
        reset: What a soft reset subtracts, without m.
        detach_reset: Whether the spike in the reset is a constant in the gradient.
        adaptation: ``none`` without m; ``decayed`` for CLIF; ``undecayed`` for an m that only counts spikes.
        detach_m: Whether m is a constant in the gradient.
        surrogate: Maps u - v_th to spikes, with the surrogate gradient.
        slope_factor: What `keep`, `gain` and `offset` contain besides the membrane's: k of KLIF.
        rectified: Whether max(u, 0) fires and resets, as in KLIF.
    """

    tau: float
    gain: float
    offset: float
    v_threshold: float
    v_reset: float | None
    reset: float
    detach_reset: bool
    adaptation: Adaptation
    detach_m: bool
    surrogate: Callable[[torch.Tensor], torch.Tensor]
    slope_factor: float = 1.0
    rectified: bool = False

    @property
    def keep(self) -> float:
        """The factor of the potential from one step to the next: 1 - 1/tau, gamma in the paper, times the slope k."""
        return self.slope_factor * (1.0 - 1.0 / self.tau)

    def firing(self, u: torch.Tensor) -> torch.Tensor:
        """What of the potential fires and resets: u itself, or max(u, 0)."""
        return u.relu() if self.rectified else u

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        """The surrogate gradient ds/du at these potentials, of the same shape."""
        with torch.enable_grad():
            x = u.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.surrogate(self.firing(x) - self.v_threshold).sum(), x)
        return slope


@dataclass(frozen=True, eq=False)
class Trace:
    """What a neuron does over time; tensors of shape (T, ...), of the input's type.

    Attributes:
        u: Potential before firing.
        m: Complementary potential after the spike; None for a neuron without it.
        v: Potential after the reset.
        spikes: 0 or 1.
    """

    u: torch.Tensor
    m: torch.Tensor | None
    v: torch.Tensor
    spikes: torch.Tensor


def equations_of(node: nn.Module, where: str) -> Equations:
    """The equations of a node.

    Args:
        node: A spiking layer.
        where: Its name for the error message.

    Raises:
        ConfigError: If it is not one of the nodes behind `DEFINED` and `LEARNT`.
    """
    # Subclasses may have other equations.
    if type(node) in (sj_neurons.ParametricLIFNode, sj_neurons.KLIFNode, sj_neurons.IFNode):
        return _spikingjelly_equations(node)
    if type(node) is LIFNode:
        hard = node.v_reset is not None
        return Equations(
            tau=float(node.tau),
            gain=1.0 / float(node.tau) if node.decay_input else 1.0,
            offset=node.v_reset / float(node.tau) if hard else 0.0,
            v_threshold=float(node.v_threshold),
            v_reset=node.v_reset,
            reset=node.reset_scale * float(node.v_threshold),
            detach_reset=node.detach_reset,
            adaptation="none",
            detach_m=False,
            surrogate=node.surrogate_function,
        )
    if isinstance(node, CLIFNode) and type(node) in (CLIFNode, UndecayedCLIFNode):
        return Equations(
            tau=float(node.tau),
            gain=1.0,
            offset=0.0,
            v_threshold=float(node.v_threshold),
            v_reset=None,
            reset=float(node.v_threshold),
            detach_reset=False,
            adaptation="decayed" if type(node) is CLIFNode else "undecayed",
            detach_m=node.detach_m,
            surrogate=node.surrogate_function,
        )
    name = type(node).__name__
    raise ConfigError(
        f"{where}: expected a neuron whose equations this analysis knows ({', '.join((*DEFINED, *LEARNT))}), found "
        f"{_OTHERS.get(name, name)}. Analyse a run with one of these neurons, or rates and energy, which accept every "
        "neuron."
    )


def _spikingjelly_equations(node: Any) -> Equations:
    """The equations of SpikingJelly's PLIF, KLIF or IF node, with the learnt constants."""
    inverse, k = 0.0, 1.0
    if type(node) is sj_neurons.ParametricLIFNode:
        inverse = float(node.w.detach().float().sigmoid())
    elif type(node) is sj_neurons.KLIFNode:
        inverse, k = 1.0 / node.tau, float(node.k.detach())
    return Equations(
        tau=1.0 / inverse if inverse else math.inf,
        gain=k * inverse if getattr(node, "decay_input", False) else k,
        offset=k * inverse * (node.v_reset or 0.0),
        v_threshold=float(node.v_threshold),
        v_reset=node.v_reset,
        reset=float(node.v_threshold),
        detach_reset=node.detach_reset,
        adaptation="none",
        detach_m=False,
        surrogate=node.surrogate_function,
        slope_factor=k,
        rectified=type(node) is sj_neurons.KLIFNode,
    )


def named_equations(name: str, config: NeuronConfig, **changes: Any) -> Equations:
    """The equations of a neuron by name.

    Args:
        name: One of `DEFINED`.
        config: Its other settings; those that the neuron does not have are ignored.
        **changes: Changes of these settings, by field.

    Raises:
        ConfigError: If there is no such neuron, its equations are not known here or have learnt constants, or a setting
            is out of range.
    """
    if name in LEARNT:
        raise ConfigError(
            f"neuron {name}: expected one whose constants are configured ({', '.join(DEFINED)}), found one that learns "
            "them in each layer. Use --neurons with some of these, or, for a run with this neuron, also --layer."
        )
    if name not in DEFINED:
        known = "found a neuron without them" if name in NEURONS else "found no such neuron"
        raise ConfigError(
            f"neuron {name}: expected one whose equations this analysis knows ({', '.join(DEFINED)}), {known}. Use "
            "--neurons with some of these."
        )
    defaults = NeuronConfig()
    plain = {field: getattr(defaults, field) for field in ("reset", "detach_reset", "decay_input", "temporal_window")}
    kept = {} if name == "lif" else plain
    changed: Any = {"name": name, "backend": "auto", "timesteps": None, **kept, **changes}
    return equations_of(make_neuron(replace(config, **changed)), name)


def trace(equations: Equations, x: torch.Tensor) -> Trace:
    """Run a neuron from a state of rest on an input current (T, ...)."""
    state, m = resting(equations, x[0])
    u, spikes = torch.empty_like(x), torch.empty_like(x)
    for t, current in enumerate(x):
        u[t] = equations.keep * state + equations.gain * current + equations.offset
        spikes[t] = u[t] >= equations.v_threshold
        state, m = _after(equations, u[t], spikes[t], m)
    return follow(equations, u, spikes)


def follow(equations: Equations, u: torch.Tensor, spikes: torch.Tensor) -> Trace:
    """Calculate the other states of a neuron from its potentials before firing and its spikes, both (T, ...)."""
    v = torch.empty_like(u)
    m = torch.empty_like(u) if equations.adaptation != "none" else None
    _, before = resting(equations, u[0])
    for t in range(len(u)):
        v[t], before = _after(equations, u[t], spikes[t], before)
        if m is not None:
            m[t] = before
    return Trace(u, m, v, spikes)


def resting(equations: Equations, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """v and m before the first step, of the shape and type of a tensor."""
    return torch.full_like(like, equations.v_reset or 0.0), torch.zeros_like(like)


def _after(
    equations: Equations, u: torch.Tensor, s: torch.Tensor, m: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """v and m after a step, from u and the spikes of the step and m before it."""
    u = equations.firing(u)
    if equations.v_reset is not None:
        return torch.where(s != 0, equations.v_reset, u), m
    if equations.adaptation == "none":
        return u - equations.reset * s, m
    m = (m * torch.sigmoid(u / equations.tau) if equations.adaptation == "decayed" else m) + s
    return u - s * (equations.reset + torch.sigmoid(m)), m
