"""Peers of the fused neurons (SpikingJelly's nodes and plain loops), and a check that they compute the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn

from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import make_neuron

TAU, THRESHOLD = 2.0, 1.0
# Elements whose potential comes this close to the threshold or an edge of the rectangle are not compared.
NEAR = 1e-5


def make_ours(kind: str) -> nn.Module:
    """Our node with the CLIF paper's settings."""
    return make_neuron(NeuronConfig(kind, tau=TAU, v_threshold=THRESHOLD, backend="fused"))


def make_spikingjellys(kind: str) -> nn.Module:
    """SpikingJelly's node with the same settings."""
    if kind == "clif":
        return neuron.ComplementaryLIFNode(TAU, THRESHOLD, surrogate.Rect(), "m")
    return neuron.LIFNode(TAU, False, THRESHOLD, None, surrogate.Rect(), False, "m")


def plain_clif(x: Tensor) -> Tensor:
    """Algorithm 1 of Huang et al. (ICML 2024) as a plain loop, which `torch.compile` compiles."""
    v = m = torch.zeros_like(x[0])
    steps = []
    for current in x.unbind(0):
        u = (1.0 - 1.0 / TAU) * v + current
        spikes = _fire(u)
        m = m * torch.sigmoid(u / TAU) + spikes
        v = u - spikes * (THRESHOLD + torch.sigmoid(m))
        steps.append(spikes)
    return torch.stack(steps)


def plain_lif(x: Tensor) -> Tensor:
    """Equations 1 to 3 of Huang et al. as a plain loop."""
    v = torch.zeros_like(x[0])
    steps = []
    for current in x.unbind(0):
        u = (1.0 - 1.0 / TAU) * v + current
        spikes = _fire(u)
        v = u - spikes * THRESHOLD
        steps.append(spikes)
    return torch.stack(steps)


PLAIN = {"clif": plain_clif, "lif": plain_lif}


def _fire(u: Tensor) -> Tensor:
    # The slope of the clamp is the rectangle with alpha = 1.
    x = u - THRESHOLD
    ramp = x.clamp(-0.5, 0.5)
    return (x >= 0).to(u.dtype) + ramp - ramp.detach()


def step(node: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Run forward and backward from a reset state; return the spikes and the gradient of the input."""
    if isinstance(node, nn.Module):
        functional.reset_net(node)
    x = x.detach().requires_grad_()
    spikes = node(x)
    (found,) = torch.autograd.grad(spikes, x, grad)
    return spikes.detach(), found


def draw(steps: int, elements: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Draw an input current and a gradient of the spikes, (T, 1, N) float32."""
    generator = torch.Generator().manual_seed(steps)
    x, grad = (torch.randn(steps, 1, elements, generator=generator) for _ in range(2))
    return (x * 1.2 + 0.3).to(device), grad.to(device)


def check_equal(kind: str, x: Tensor, grad: Tensor, others: dict[str, Callable[[Tensor], Tensor]]) -> float:
    """Check that all peers give our spikes and gradient; return the share of elements that are not compared.

    Raises:
        SystemExit: If a peer does not.
    """
    keep = _far_from_edges(kind, x)
    spikes, found = step(make_ours(kind), x, grad)
    for name, node in others.items():
        expected_spikes, expected = step(node, x, grad)
        if not torch.equal(spikes[:, keep], expected_spikes[:, keep].to(spikes.dtype)):
            raise SystemExit(f"benchmarks: {kind}: spikes differ from {name}'s")
        apart = float((found[:, keep] - expected[:, keep]).norm() / expected[:, keep].norm())
        if not apart < 1e-5:
            raise SystemExit(
                f"benchmarks: {kind}: the gradient is {apart:.2g} away from {name}'s, expected less than 1e-5"
            )
    left_out = float((~keep).double().mean())
    if left_out > 1e-3:
        raise SystemExit(f"benchmarks: {kind}: {left_out:.2g} of the elements are too close to an edge to be compared")
    return left_out


def _far_from_edges(kind: str, x: Tensor) -> Tensor:
    """Which elements (1, N) stay away from the threshold and the edges of the rectangle, computed in float64."""
    node: Any = make_spikingjellys(kind)
    node.step_mode = "s"
    keep = torch.ones_like(x[0], dtype=torch.bool)
    v = torch.zeros_like(x[0], dtype=torch.float64)
    for current in x.double():
        distance = ((1.0 - 1.0 / TAU) * v + current - THRESHOLD).abs()
        keep &= (distance > NEAR) & ((distance - 0.5).abs() > NEAR)
        with torch.no_grad():
            node(current)
        v = node.v
    return keep
