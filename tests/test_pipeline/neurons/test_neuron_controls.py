"""The controls beside CLIF's claim: a deeper soft reset for LIF, and CLIF whose m hands no gradient on.

Twins are plain loops in float64 that autograd differentiates; elements that come near an edge are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from spikingjelly.activation_based import functional, surrogate

from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import CLIFNode, LIFNode, make_neuron
from preprocess.errors import ConfigError

TAU, THRESHOLD = 1.7, 0.9
CONTROLS = ("alif", "lif-reset1.8", "clif-detached", "clif-undecayed")


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


@pytest.mark.parametrize("backend", ["fused", "torch"])
def test_detached_m_gives_no_gradient_to_the_m_before_the_sequence(backend: str):
    x, _ = drawn()
    node = CLIFNode(step_mode="m", detach_m=True, backend=backend)
    node(x)
    before = node.m.detach().requires_grad_()
    node.m = before
    spikes = node(x.clone().requires_grad_())
    (spikes.sum() + node.v.sum() + node.m.sum()).backward()
    assert before.any() and (before.grad is None or not before.grad.any())


def test_single_steps_equal_the_sequence():
    x, _ = drawn()
    for make in (
        lambda mode: LIFNode(v_reset=None, step_mode=mode, reset_scale=1.5, backend="torch"),
        lambda mode: CLIFNode(step_mode=mode, detach_m=True, backend="torch"),
    ):
        single, many = make("s"), make("m")
        assert torch.equal(torch.stack([single(current) for current in x]), many(x))


def make_windowed(kind: str, window: int | None, backend: str) -> torch.nn.Module:
    if kind == "clif":
        return CLIFNode(step_mode="m", temporal_window=window, backend=backend)
    return LIFNode(v_reset=None, step_mode="m", temporal_window=window, backend=backend)


@pytest.mark.parametrize("backend", ["fused", "torch"])
@pytest.mark.parametrize("kind", ["lif", "clif"])
def test_gradients_reach_back_through_no_more_steps_than_the_window(kind: str, backend: str):
    x, weights = drawn()
    whole = make_windowed(kind, None, backend)(x)
    for window in (0, 2):
        inputs = x.clone().requires_grad_()
        spikes = make_windowed(kind, window, backend)(inputs)
        assert torch.equal(spikes, whole)
        for t in (2, 5, 8):
            (grad,) = torch.autograd.grad((spikes[t] * weights[t]).sum(), inputs, retain_graph=True)
            reached = [step for step in range(len(x)) if grad[step].any()]
            assert reached == list(range(t - window, t + 1))


@pytest.mark.parametrize("kind", ["lif", "clif"])
def test_a_window_as_long_as_the_sequence_changes_no_gradient(kind: str):
    x, weights = drawn()
    found = []
    for window in (None, len(x) - 1):
        inputs = x.clone().requires_grad_()
        (make_windowed(kind, window, "fused")(inputs) * weights).sum().backward()
        found.append(inputs.grad)
    assert torch.equal(*found)


def test_a_window_of_none_past_is_that_of_steps_alone():
    x, weights = drawn()
    inputs = x.clone().requires_grad_()
    (make_windowed("clif", 0, "fused")(inputs) * weights).sum().backward()
    # Without a past in the gradient, what is left is the surrogate's slope at each step.
    assert set((inputs.grad / weights).round(decimals=4).unique().tolist()) == {0.0, 1.0}


def test_windows_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"temporal_window: expected None, or at least 0 .*, found -1$"):
        CLIFNode(temporal_window=-1)
    with pytest.raises(ConfigError, match=r"found 2 with stored states$"):
        LIFNode(store_v_seq=True, temporal_window=2)


def test_a_scaled_hard_reset_is_refused():
    with pytest.raises(
        ConfigError, match=r"reset_scale: expected 1 with the hard reset \(v_reset=0.0\), found 1.5. Use"
    ):
        LIFNode(reset_scale=1.5)


def undecayed_twin(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    function = surrogate.Rect()
    v, m, spikes, potentials = torch.zeros_like(x[0]), torch.zeros_like(x[0]), [], []
    for current in x:
        u = (1 - 1 / TAU) * v + current
        s = function(u - THRESHOLD)
        m = m + s
        v = u - s * (THRESHOLD + torch.sigmoid(m))
        spikes.append(s)
        potentials.append(u)
    return torch.stack(spikes), v, torch.stack(potentials)


def adaptive_twin(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The last is the potential above the risen threshold, plus the threshold: what comes near an edge is left out."""
    function = surrogate.Rect()
    v, a, spikes, potentials = torch.zeros_like(x[0]), torch.zeros_like(x[0]), [], []
    for current in x:
        u = (1 - 1 / TAU) * v + current
        above = u - THRESHOLD * (1 + 1.8 * a)
        s = function(above)
        a = (1 - 1 / (2 * TAU)) * a + s / (2 * TAU)
        v = u - s * THRESHOLD
        spikes.append(s)
        potentials.append(above + THRESHOLD)
    return torch.stack(spikes), v, torch.stack(potentials)


@pytest.mark.parametrize(("name", "twin"), [("clif-undecayed", undecayed_twin), ("alif", adaptive_twin)])
def test_neurons_of_single_steps_follow_their_equations(name: str, twin: Callable[..., tuple[torch.Tensor, ...]]):
    node = make_neuron(NeuronConfig(name, tau=TAU, v_threshold=THRESHOLD))
    long = drawn()[0].double().requires_grad_()
    assert_equal_to_twin(node, twin(long), long)


def test_named_controls_are_lif_and_clif_with_one_thing_changed():
    x = drawn()[0]
    spikes = {name: make_neuron(NeuronConfig(name))(x) for name in ("lif", "clif", *CONTROLS)}
    assert torch.equal(spikes["clif-detached"], spikes["clif"])
    deep = LIFNode(2.0, False, 1.0, None, surrogate.Rect(), step_mode="m", reset_scale=1.8)
    assert torch.equal(spikes["lif-reset1.8"], deep(x))

    def agreement(name: str) -> float:
        return (spikes[name] == spikes["clif"]).double().mean().item()

    # What makes the control needed: its spikes are nearly CLIF's, though nothing complementary is in it.
    assert agreement("lif-reset1.8") > 0.98 > agreement("lif")
    different = [name for name in ("lif", *CONTROLS) if not torch.equal(spikes[name], spikes["clif"])]
    assert different == ["lif", "alif", "lif-reset1.8", "clif-undecayed"]
