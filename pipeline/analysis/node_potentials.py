"""The potentials of a node for given input currents, rounded as the node itself rounds them.

Where u is within a rounding error of an edge of the surrogate, only the node's own u tells its gradient. So this runs
the kernels that a node runs, or the same operations in the same order.
"""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import neuron as sj_neurons
from torch import nn

from pipeline.analysis.neuron_equations import Equations, resting, trace
from pipeline.kernels import fused_function
from pipeline.neurons import CLIFNode, LIFNode
from pipeline.neurons.backend import chooses_fused, find_obstacle, surrogate_kind
from pipeline.neurons.clif import custom_op as clif_op
from pipeline.neurons.lif import custom_op as lif_op


@torch.no_grad()
def node_potentials(node: nn.Module, equations: Equations, x: torch.Tensor) -> torch.Tensor:
    """u (T, ...) as a node itself calculates it for an input x (T, ...) from a state of rest.

    Args:
        node: A node that `equations_of` knows.
        equations: Its equations.
        x: Input current.
    """
    if not isinstance(node, LIFNode | CLIFNode):
        return _spikingjelly_potentials(node, x)
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


def _spikingjelly_potentials(node: Any, x: torch.Tensor) -> torch.Tensor:
    """u of SpikingJelly's PLIF, KLIF or IF."""
    rest = node.v_reset or 0.0
    v = torch.full_like(x[0], rest)
    u = torch.empty_like(x)
    for t, current in enumerate(x):
        u[t] = _charged(node, v, v - rest, current)
        fires = u[t].relu() if isinstance(node, sj_neurons.KLIFNode) else u[t]
        spikes = (fires - node.v_threshold >= 0).to(x.dtype)
        v = fires - spikes * node.v_threshold if node.v_reset is None else spikes * rest + (1.0 - spikes) * fires
    return u


def _charged(node: Any, v: torch.Tensor, above_rest: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    if isinstance(node, sj_neurons.IFNode):
        return v + x
    if isinstance(node, sj_neurons.KLIFNode):
        return node.k * (v + (x - above_rest) / node.tau if node.decay_input else v - above_rest / node.tau + x)
    inverse = node.w.float().sigmoid()
    return v + (x - above_rest) * inverse if node.decay_input else v - above_rest * inverse + x
