"""The controls beside CLIF's claim: a deeper soft reset for LIF, and CLIF whose m hands no gradient on.

Twins are plain loops in float64 that autograd differentiates; elements that come near an edge are left out.
"""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional, surrogate

from pipeline.neurons import CLIFNode, LIFNode
from preprocess.errors import ConfigError

TAU, THRESHOLD = 1.7, 0.9


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(9, 3, 200, generator=generator) * 1.2 + 0.4, torch.randn(9, 3, 200, generator=generator)


def lif_twin(x: torch.Tensor, scale: float, decay: bool, detach: bool) -> tuple[torch.Tensor, ...]:
    function = surrogate.Rect()
    v, spikes, potentials = torch.zeros_like(x[0]), [], []
    for current in x:
        u = (1 - 1 / TAU) * v + (current / TAU if decay else current)
        s = function(u - THRESHOLD)
        v = u - (s.detach() if detach else s) * scale * THRESHOLD
        spikes.append(s)
        potentials.append(u)
    return torch.stack(spikes), v, torch.stack(potentials)


def clif_twin(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    function = surrogate.Rect()
    v, m, spikes, potentials = torch.zeros_like(x[0]), torch.zeros_like(x[0]), [], []
    for current in x:
        u = (1 - 1 / TAU) * v + current
        s = function(u - THRESHOLD)
        m = (m * torch.sigmoid(u / TAU) + s).detach()
        v = u - s * (THRESHOLD + torch.sigmoid(m))
        spikes.append(s)
        potentials.append(u)
    return torch.stack(spikes), v, torch.stack(potentials)


def assert_equal_to_twin(node: torch.nn.Module, twin: tuple[torch.Tensor, ...], long: torch.Tensor) -> None:
    x, weights = drawn()
    functional.reset_net(node)
    ours = x.requires_grad_()
    spikes = torch.cat([node(part) for part in (ours[:4], ours[4:])])
    ((spikes * weights).sum() + node.v.sum()).backward()
    expected, v, u = twin
    ((expected * weights.double()).sum() + v.sum()).backward()
    distance = (u - THRESHOLD).abs()
    keep = ~((distance < 1e-5) | ((distance - 0.5).abs() < 1e-5)).any(0)
    assert keep.double().mean() > 0.99
    assert torch.equal(spikes[:, keep].double(), expected[:, keep])
    torch.testing.assert_close(node.v[keep].double(), v[keep], rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(ours.grad[:, keep].double(), long.grad[:, keep], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["fused", "torch"])
@pytest.mark.parametrize(("decay", "detach"), [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.75])
def test_a_soft_reset_lowers_by_the_scaled_threshold(scale: float, decay: bool, detach: bool, backend: str):
    node = LIFNode(TAU, decay, THRESHOLD, None, surrogate.Rect(), detach, "m", reset_scale=scale, backend=backend)
    long = drawn()[0].double().requires_grad_()
    assert_equal_to_twin(node, lif_twin(long, scale, decay, detach), long)


@pytest.mark.parametrize("backend", ["fused", "torch"])
def test_detached_m_hands_no_gradient_on(backend: str):
    node = CLIFNode(TAU, THRESHOLD, surrogate.Rect(), "m", detach_m=True, backend=backend)
    long = drawn()[0].double().requires_grad_()
    assert_equal_to_twin(node, clif_twin(long), long)


def test_detaching_m_changes_gradients_and_nothing_else():
    x, weights = drawn()
    found = []
    for detach in (False, True):
        node, inputs = CLIFNode(step_mode="m", detach_m=detach), x.clone().requires_grad_()
        spikes = node(inputs)
        (spikes * weights).sum().backward()
        found.append((spikes.detach(), node.v.detach(), node.m.detach(), inputs.grad))
    assert all(torch.equal(a, b) for a, b in zip(found[0][:3], found[1][:3], strict=True))
    assert not torch.equal(found[0][3], found[1][3])


def test_single_steps_equal_the_sequence():
    x, _ = drawn()
    for make in (
        lambda mode: LIFNode(v_reset=None, step_mode=mode, reset_scale=1.5, backend="torch"),
        lambda mode: CLIFNode(step_mode=mode, detach_m=True, backend="torch"),
    ):
        single, many = make("s"), make("m")
        assert torch.equal(torch.stack([single(current) for current in x]), many(x))


def test_a_scaled_hard_reset_is_refused():
    with pytest.raises(
        ConfigError, match=r"reset_scale: expected 1 with the hard reset \(v_reset=0.0\), found 1.5. Use"
    ):
        LIFNode(reset_scale=1.5)
