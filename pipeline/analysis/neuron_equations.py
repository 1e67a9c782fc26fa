"""The equations of LIF and CLIF neurons as numbers and traces, from which analyses calculate what a node keeps inside.

u[t] = keep v[t-1] + gain x[t] + offset; s[t] = 1 where u[t] >= v_th, else 0; without m, v[t] = u[t] - reset s[t] (soft)
or v_reset where s[t] = 1 (hard). CLIF adds m[t] = m[t-1] sigma(u[t] / tau) + s[t] and resets by v_th + sigma(m[t])
(Huang et al., ICML 2024, Eqs. 1-3 and Algorithm 1; `pipeline.neurons` has the nodes and their kernels).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import NeuronConfig
from pipeline.kernels import fused_function
from pipeline.neurons import CLIFNode, LIFNode, make_neuron
from pipeline.neurons.backend import chooses_fused, find_obstacle, surrogate_kind
from pipeline.neurons.clif import custom_op as clif_op
from pipeline.neurons.control_neurons import UndecayedCLIFNode
from pipeline.neurons.lif import custom_op as lif_op
from preprocess.errors import ConfigError

# Neurons by name whose nodes have these equations.
DEFINED = ("lif", "clif", "lif-reset1.8", "clif-detached", "clif-undecayed")

Adaptation = Literal["none", "decayed", "undecayed"]


@dataclass(frozen=True)
class Equations:
    """The constants of a neuron.

    Attributes:
        tau: Time constant in time steps.
        gain: Factor of the input.
        offset: Added to u at each step.
        v_threshold: v_th.
        v_reset: The potential after a spike; None for a soft reset.
        reset: What a soft reset subtracts, without m.
        detach_reset: Whether the spike in the reset is a constant in the gradient.
        adaptation: ``none`` without m; ``decayed`` for CLIF; ``undecayed`` for an m that only counts spikes.
        detach_m: Whether m is a constant in the gradient.
        surrogate: Maps u - v_th to spikes, with the surrogate gradient.
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

    @property
    def keep(self) -> float:
        """The factor of the potential from one step to the next: 1 - 1/tau, gamma in the paper."""
        return 1.0 - 1.0 / self.tau

    def slope(self, u: torch.Tensor) -> torch.Tensor:
        """The surrogate gradient ds/du at these potentials, of the same shape."""
        with torch.enable_grad():
            x = (u.detach() - self.v_threshold).requires_grad_()
            (slope,) = torch.autograd.grad(self.surrogate(x).sum(), x)
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
        ConfigError: If it is not one of the nodes behind `DEFINED`.
    """
    # Subclasses may have other equations.
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
    raise ConfigError(
        f"{where}: expected a neuron whose equations this analysis knows ({', '.join(DEFINED)}), found "
        f"{type(node).__name__}. Analyse a run with one of these neurons."
    )


def named_equations(name: str, config: NeuronConfig, **changes: Any) -> Equations:
    """The equations of a neuron by name.

    Args:
        name: One of `DEFINED`.
        config: Its other settings; those that the neuron does not have are ignored.
        **changes: Changes of these settings, by field.

    Raises:
        ConfigError: If there is no such neuron, its equations are not known here, or a setting is out of range.
    """
    if name not in DEFINED:
        known = "found a neuron without them" if name in NEURONS else "found no such neuron"
        raise ConfigError(
            f"neuron {name}: expected one whose equations this analysis knows ({', '.join(DEFINED)}), {known}"
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
    if equations.v_reset is not None:
        return torch.where(s != 0, equations.v_reset, u), m
    if equations.adaptation == "none":
        return u - equations.reset * s, m
    m = (m * torch.sigmoid(u / equations.tau) if equations.adaptation == "decayed" else m) + s
    return u - s * (equations.reset + torch.sigmoid(m)), m


@torch.no_grad()
def node_potentials(node: LIFNode | CLIFNode, equations: Equations, x: torch.Tensor) -> torch.Tensor:
    """u (T, ...) as a node itself calculates it for an input x (T, ...) from a state of rest.

    Where u is within a rounding error of an edge of the surrogate, only the node's own u tells its gradient. So this
    runs the kernels that the node runs, or else the equations in the input's type.
    """
    if not chooses_fused(node.fused_backend, find_obstacle(node, x)) or equations.adaptation == "undecayed":
        return trace(equations, x).u
    kind, alpha = surrogate_kind(node.surrogate_function)
    x = x.contiguous()
    rest = resting(equations, x[0])
    if equations.adaptation == "decayed":
        settings = clif_op.Settings(equations.tau, equations.v_threshold, kind, alpha, equations.detach_m)
        u = fused_function.results(clif_op.KERNELS, settings, x, rest, saves=True)[3]
        return u.view(x.shape)
    hard = equations.v_reset is not None
    update = lif_op.Update(
        keep=equations.keep,
        gain=equations.gain,
        offset=equations.offset,
        v_threshold=equations.v_threshold,
        hard=hard,
        reset=equations.v_reset if equations.v_reset is not None else equations.reset,
        detach_reset=equations.detach_reset,
        kind=kind,
        alpha=alpha,
    )
    return fused_function.results(lif_op.KERNELS, update, x, rest[:1], saves=True)[2].view(x.shape)
