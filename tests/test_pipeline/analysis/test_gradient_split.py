"""The parts of a neuron's gradient: by hand for two and three steps, and in sum equal to autograd's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipeline.analysis.gradient_split import (
    NO_WINDOW,
    Linearised,
    Window,
    linearise,
    parts_by_source,
    parts_of_paper,
    printed_gradient,
    total_gradients,
)
from pipeline.analysis.neuron_equations import DEFINED, LEARNT, Equations, equations_of, follow, trace
from pipeline.analysis.node_potentials import node_potentials
from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import make_neuron

T, N = 7, 400
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in (*DEFINED, *LEARNT)),
    ("lif", {"reset": "hard"}),
    ("lif", {"decay_input": True, "detach_reset": True, "tau": 1.3}),
    ("lif", {"surrogate": "triangle", "tau": 5.0, "temporal_window": 2}),
    ("clif", {"surrogate": "sigmoid", "alpha": 4.0, "tau": 1.3, "v_threshold": 0.7}),
    ("clif", {"temporal_window": 2}),
    ("clif", {"temporal_window": 0}),
    *((name, {"reset": "hard", "decay_input": True, "tau": 1.3}) for name in LEARNT),
    *((name, {"detach_reset": True, "surrogate": "atan"}) for name in LEARNT),
    ("lif", {"temporal_window": 2, "truncation": "sliding"}),
    *(("clif", {"temporal_window": h, "truncation": "sliding"}) for h in (0, 2, 5, 6)),
]
# After training, neither is LIF.
LEARNT_VALUES = {"w": 0.4, "k": 1.3}


def made(config: NeuronConfig) -> torch.nn.Module:
    """A node, with other values of its learnt constants than at the start."""
    node = make_neuron(config)
    with torch.no_grad():
        for name, parameter in node.named_parameters():
            parameter.fill_(LEARNT_VALUES[name])
    return node


def settings(name: str, changes: dict[str, Any]) -> Any:
    return pytest.param(NeuronConfig(name, **changes), id="-".join([name, *map(str, changes.values())]))


def analysed(config: NeuronConfig, dtype: torch.dtype) -> tuple[Linearised, torch.Tensor, torch.Tensor]:
    """The derivatives of a node's steps, P, and autograd's dL/du, in float64, for a random loss of its spikes."""
    generator = torch.Generator().manual_seed(3)
    x = (0.7 * torch.randn(T, N, generator=generator, dtype=torch.float64) + 0.4).to(dtype).requires_grad_()
    of_spikes = torch.randn(T, N, generator=generator, dtype=torch.float64).to(dtype)
    node = made(config)
    node(x).backward(of_spikes)
    assert x.grad is not None
    equations = equations_of(node, "")
    u = node_potentials(node, equations, x.detach())
    along = follow(equations, u.double(), (u >= equations.v_threshold).double())
    window, sliding = config.temporal_window, config.truncation == "sliding"
    limit = NO_WINDOW if window is None else Window(furthest=window) if sliding else Window(block=window + 1)
    steps = linearise(equations, along, limit)
    return steps, of_spikes.double() * steps.slope, x.grad.double() / equations.gain


def summed(parts: Any, like: torch.Tensor) -> torch.Tensor:
    total = torch.zeros_like(like)
    for distance, part in enumerate(parts):
        total[: len(like) - distance] += part.total
    return total


@pytest.mark.parametrize("split", [parts_by_source, parts_of_paper])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("config", [settings(*variant) for variant in VARIANTS])
def test_the_parts_sum_to_the_gradient_of_autograd(config: NeuronConfig, dtype: torch.dtype, bound: float, split: Any):
    steps, source, of_u = analysed(config, dtype)
    assert of_u.norm() > source.norm() / 2 > 0
    assert (summed(split(steps, source), source) - of_u).norm() < bound * of_u.norm()
    if steps.furthest is None or steps.furthest >= T - 1:
        assert (total_gradients(steps, source)[0] - of_u).norm() < bound * of_u.norm()


def test_a_window_of_all_steps_has_the_parts_without_a_window():
    steps, source, _ = analysed(NeuronConfig("clif"), torch.float64)
    for split in (parts_by_source, parts_of_paper):
        for whole, part in zip(split(steps, source), split(replace(steps, furthest=T), source), strict=True):
            assert whole.complementary is None or torch.allclose(whole.complementary, part.complementary)
            assert torch.allclose(whole.membrane, part.membrane)


@pytest.mark.parametrize("name", ["lif", "lif-reset1.8", "clif-detached"])
def test_without_the_gradient_of_m_both_splits_and_the_printed_sum_are_the_same(name: str):
    steps, source, of_u = analysed(NeuronConfig(name), torch.float64)
    for ours, theirs in zip(parts_by_source(steps, source), parts_of_paper(steps, source), strict=True):
        assert torch.equal(ours.total, theirs.total) and ours.complementary is theirs.complementary is None
    assert torch.allclose(printed_gradient(steps, source), of_u)


def lif_equations(**changes: Any) -> Equations:
    return equations_of(make_neuron(NeuronConfig("lif", **changes)), "")


def of_clif(x: list[float], tau: float) -> tuple[list[float], list[float], Linearised]:
    """u and m of one CLIF neuron, and the derivatives of its steps."""
    equations = equations_of(make_neuron(NeuronConfig("clif", tau=tau)), "")
    along = trace(equations, torch.tensor(x, dtype=torch.float64)[:, None])
    assert along.m is not None
    return along.u[:, 0].tolist(), along.m[:, 0].tolist(), linearise(equations, along)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def test_lif_of_three_steps_by_hand():
    """u = 0.4, 1.7, 1.25 with tau 2: H = 0 (below 1/2), 0 (above 3/2), 1; v = 0.4, 0.7; a spike at 1.7 does not cut."""
    x = torch.tensor([0.4, 1.5, 0.9], dtype=torch.float64)[:, None]
    equations = lif_equations()
    along = trace(equations, x)
    assert torch.allclose(along.u[:, 0], torch.tensor([0.4, 1.7, 1.25], dtype=torch.float64))
    assert along.spikes[:, 0].tolist() == [0, 1, 1]
    steps = linearise(equations, along)
    assert steps.slope[:, 0].tolist() == [0, 0, 1]
    assert steps.epsilon[:, 0].tolist() == [0.5, 0.5]
    source = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)[:, None] * steps.slope
    found = [part.total[:, 0].tolist() for part in parts_by_source(steps, source)]
    # P[3] gamma at a distance of 1, and P[3] gamma^2 at a distance of 2.
    assert found == [[0, 0, 5], [0, 2.5], [1.25]]


def test_lif_is_cut_where_the_potential_is_near_the_threshold():
    """Eq. 14: the factor is 0 where 1/2 < u < 3/2, also without a spike; gamma elsewhere."""
    x = torch.tensor([0.8, 0.0, 0.9], dtype=torch.float64)[:, None]
    equations = lif_equations()
    steps = linearise(equations, trace(equations, x))
    assert steps.epsilon[:, 0].tolist() == [0.0, 0.5]


def test_clif_of_two_steps_by_hand():
    """u[1] = 1.2 fires: du[2]/du[1] = epsilon + mu psi, with m[1] = 1, H = 1."""
    tau = 2.0
    (u1, u2), (m1, _), steps = of_clif([1.2, 1.3], tau)
    reset = 1 + sigmoid(m1)
    assert (u1, m1) == (1.2, 1.0) and u2 == pytest.approx(0.5 * (1.2 - reset) + 1.3)
    slope1, slope2 = 1.0, 1.0
    epsilon = 0.5 * (1 - reset * slope1)
    mu, psi = -0.5 * sigmoid(m1) * (1 - sigmoid(m1)), 0.0 * sigmoid(u1 / tau) + slope1
    source = torch.tensor([2.0 * slope1, 3.0 * slope2], dtype=torch.float64)[:, None]
    (_, distant) = parts_by_source(steps, source)
    assert distant.complementary is not None
    assert float(distant.membrane) == pytest.approx(3 * epsilon)
    assert float(distant.complementary) == pytest.approx(3 * mu * psi)


def test_clif_of_three_steps_by_hand():
    """Two paths lead from u[1] to u[3] besides that over u[2]: m[1] -> m[2] -> u[3] is the one that LIF lacks."""
    tau = 2.0
    u, m, steps = of_clif([0.7, 1.9, 1.6], tau)
    slope = [float(abs(value - 1) < 0.5) for value in u]
    assert [value >= 1 for value in u] == [False, True, True] and slope[:2] == [1.0, 0.0]
    high, past = [sigmoid(value) for value in m], [sigmoid(value / tau) for value in u]
    epsilon = [0.5 * (1 - (1 + high[t]) * slope[t]) for t in (0, 1)]
    mu = [-0.5 * (u[t] >= 1) * high[t] * (1 - high[t]) for t in (0, 1)]
    psi = [before * past[t] * (1 - past[t]) / tau + slope[t] for t, before in ((0, 0.0), (1, m[0]))]
    one_to_two = epsilon[0] + mu[0] * psi[0]
    expected = one_to_two * (epsilon[1] + mu[1] * psi[1]) + psi[0] * past[1] * mu[1]
    source = torch.zeros(3, 1, dtype=torch.float64)
    source[2] = 1.0
    parts = [part.total[:, 0].tolist() for part in parts_by_source(steps, source)]
    assert parts[2] == [pytest.approx(expected)]
    assert parts[1] == pytest.approx([0, epsilon[1] + mu[1] * psi[1]])
    assert expected != 0 and mu[1] != 0


def test_the_printed_equations_count_the_path_through_m_twice():
    (_, _), (m1, _), steps = of_clif([1.2, 1.3], 2.0)
    source = torch.tensor([0.0, 3.0], dtype=torch.float64)[:, None]
    mu = -0.5 * sigmoid(m1) * (1 - sigmoid(m1))
    excess = printed_gradient(steps, source)[0] - total_gradients(steps, source)[0][0]
    assert float(excess) == pytest.approx(3 * mu * 1.0)


@pytest.mark.parametrize("name", [*DEFINED, *LEARNT])
def test_parts_of_the_slope_are_the_derivatives_of_later_spikes(name: str):
    backend: Any = "auto" if name in (*LEARNT, "if") else "torch"
    node = made(NeuronConfig(name, surrogate="atan", backend=backend))
    equations = equations_of(node, "")
    x = (0.9 * torch.rand(5, 1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)).requires_grad_()
    spikes = node(x)
    jacobian = torch.stack([torch.autograd.grad(each.sum(), x, retain_graph=True)[0][:, 0] for each in spikes])
    steps = linearise(equations, trace(equations, x.detach()))
    for distance, part in enumerate(parts_by_source(steps, steps.slope)):
        assert torch.allclose(part.total[:, 0] * steps.gain, jacobian.diagonal(-distance), atol=1e-14)


@pytest.mark.parametrize("name", [*DEFINED, *LEARNT])
def test_traces_are_those_of_the_nodes(name: str):
    node = made(NeuronConfig(name, tau=3.0))
    x = torch.rand(20, 50, generator=torch.Generator().manual_seed(1))
    equations = equations_of(node, "")
    along = trace(equations, x.double())
    with torch.no_grad():
        assert torch.equal(node(x).double(), along.spikes)
    assert torch.allclose(node.v.double(), along.v[-1], atol=1e-5)
    assert torch.allclose(node_potentials(node, equations, x).double(), along.u, atol=1e-5)
    if along.m is not None:
        assert torch.allclose(node.m.double(), along.m[-1], atol=1e-5)
