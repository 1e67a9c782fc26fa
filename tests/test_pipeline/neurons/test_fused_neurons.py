"""The fused neurons equal SpikingJelly's and plain float64 loops, wherever rounding does not decide.

An element is compared until its u first lies within 1e-5 of the threshold or of the surrogate's edge: from there on
trajectories may legitimately part. The share that is left out is counted and stays small.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from patience import PATIENCE_S
from reference import neurons as reference
from spikingjelly.activation_based import functional, neuron, surrogate
from tolerances import NEAR, TOLERANCE, relative

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.kernels.fused_function import DerivativeError
from pipeline.kernels.threads import _run_on_openmp, for_ranges
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.neurons import CLIFNode, LIFNode, make_neuron

SURROGATES = ("rect", "triangle", "sigmoid", "atan")


def pair(kind: str, config: NeuronConfig, **lif: object) -> tuple[torch.nn.Module, torch.nn.Module]:
    """SpikingJelly's neuron and ours."""
    function = make_surrogate(config)
    if kind == "clif":
        words: dict = {"tau": config.tau, "v_threshold": config.v_threshold, "surrogate_function": function}
        return (
            neuron.ComplementaryLIFNode(**words, step_mode="m"),
            CLIFNode(**words, step_mode="m", backend="fused"),
        )
    words = {"tau": config.tau, "v_threshold": config.v_threshold, "surrogate_function": function, **lif}
    return neuron.LIFNode(**words, step_mode="m"), LIFNode(**words, step_mode="m", backend="fused")


def potentials(kind: str, x: torch.Tensor, config: NeuronConfig, **lif: object) -> torch.Tensor:
    """u of every step in float64, from SpikingJelly's own equations."""
    theirs, _ = pair(kind, config, **lif)
    steps = []
    gain = 1.0 / config.tau if lif.get("decay_input") else 1.0
    reset = lif.get("v_reset") or 0.0
    v = torch.full_like(x[0].double(), float(reset))
    theirs.step_mode = "s"
    for current in x.double():
        steps.append(v * (1 - 1 / config.tau) + current * gain + float(reset) / config.tau)
        theirs(current)
        v = theirs.v
    return torch.stack(steps)


def comparable(u: torch.Tensor, config: NeuronConfig) -> torch.Tensor:
    """Which elements (N of T, N) never come near the threshold or the surrogate's edge."""
    edges = {"rect": 0.5 / config.alpha, "triangle": 1.0 / config.alpha}.get(config.surrogate)
    distance = (u - config.v_threshold).abs()
    near = distance < NEAR
    if edges is not None:
        near |= (distance - edges).abs() < NEAR
    return ~near.any(0)


def run(node: torch.nn.Module, x: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two chunks with the state carried over; spikes, states and the gradient through both."""
    functional.reset_net(node)
    x = x.clone().requires_grad_()
    cut = len(x) // 2
    spikes = torch.cat([node(part) for part in (x[:cut], x[cut:]) if len(part)])
    states = {name: getattr(node, name) for name in ("v", "m") if hasattr(node, name)}
    loss = (spikes.float() * weights).sum() + sum(state.float().sum() * 0.5 for state in states.values())
    loss.backward()
    assert x.grad is not None
    return {"spikes": spikes.detach(), "gradient": x.grad, **{name: state.detach() for name, state in states.items()}}


def drawn(seed: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * 1.2 + 0.3, torch.randn(shape, generator=generator)


def compare(kind: str, config: NeuronConfig, shape: tuple[int, ...], seed: int, **lif: object) -> float:
    """Assert equality; the share of elements left out."""
    x, weights = drawn(seed, shape)
    keep = comparable(potentials(kind, x, config, **lif), config)
    theirs, ours = pair(kind, config, **lif)
    expected, found = run(theirs, x, weights), run(ours, x, weights)
    for name in expected:
        mask = keep.expand_as(expected[name])
        if name == "spikes":
            assert torch.equal(found[name][mask], expected[name][mask]), name
        elif mask.any():
            assert relative(found[name][mask], expected[name][mask]) < TOLERANCE[torch.float32], name
    return float((~keep).double().mean())


shapes = st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 40))
configs = st.builds(
    NeuronConfig,
    tau=st.sampled_from([1.1, 4 / 3, 2.0, 5.0, 100.0]),
    surrogate=st.sampled_from(SURROGATES),
    alpha=st.sampled_from([0.5, 1.0, 4.0]),
    v_threshold=st.sampled_from([0.5, 1.0, 1.7]),
)


@hypothesis.given(configs, shapes, st.integers(0, 2**31))
def test_clif_equals_spikingjelly(config: NeuronConfig, shape: tuple[int, ...], seed: int):
    compare("clif", config, shape, seed)


@hypothesis.given(
    configs, shapes, st.integers(0, 2**31), st.booleans(), st.sampled_from([None, 0.0, 0.2]), st.booleans()
)
def test_lif_equals_spikingjelly_in_every_variant(
    config: NeuronConfig, shape: tuple[int, ...], seed: int, decay: bool, v_reset: float | None, detach: bool
):
    compare("lif", config, shape, seed, decay_input=decay, v_reset=v_reset, detach_reset=detach)


@pytest.mark.parametrize("kind", ["lif", "clif"])
@pytest.mark.parametrize("name", SURROGATES)
def test_few_elements_are_left_out_of_the_comparison(kind: str, name: str):
    lif = {} if kind == "clif" else {"decay_input": False, "v_reset": None}
    assert compare(kind, NeuronConfig(surrogate=name), (10, 8, 5000), 0, **lif) < 1e-3


@pytest.mark.parametrize("kind", ["lif", "clif"])
@pytest.mark.parametrize("name", SURROGATES)
def test_neurons_equal_the_papers_formulae_as_plain_loops(kind: str, name: str):
    config = NeuronConfig(kind, tau=1.8, surrogate=name, alpha=1.3, backend="fused")
    x, weights = drawn(3, (12, 1, 60))
    node = make_neuron(config)
    x.requires_grad_()
    spikes = node(x)
    (spikes * weights).sum().backward()
    function = reference.make_surrogate(name, config.alpha)
    plain = reference.clif if kind == "clif" else reference.lif
    compared = 0
    for n in range(x.shape[2]):
        one = x.detach()[:, 0, n].double().numpy(), weights[:, 0, n].double().numpy()
        expected, u, grad = plain(*one, config.tau, config.v_threshold, function)
        if comparable(torch.from_numpy(u)[:, None], config).all():
            np.testing.assert_array_equal(spikes.detach()[:, 0, n], expected)
            np.testing.assert_allclose(x.grad[:, 0, n], grad, rtol=1e-4, atol=1e-5)
            compared += 1
    assert compared >= 55


AT_THE_THRESHOLD = {
    "lif": lambda backend: LIFNode(2.0, False, v_reset=None, step_mode="m", backend=backend),
    "lif, reset detached": lambda backend: LIFNode(
        2.0, False, v_reset=None, detach_reset=True, step_mode="m", backend=backend
    ),
    "lif, hard reset": lambda backend: LIFNode(2.0, False, v_reset=0.0, step_mode="m", backend=backend),
    "clif": lambda backend: CLIFNode(2.0, step_mode="m", backend=backend),
    "clif, m detached": lambda backend: CLIFNode(2.0, step_mode="m", detach_m=True, backend=backend),
}


@pytest.mark.parametrize("name", AT_THE_THRESHOLD)
def test_at_the_threshold_and_at_the_surrogate_s_edges_neurons_are_spikingjellys(name: str):
    """Quarters of the threshold, which float32 represents: comparisons with other inputs leave such elements out."""
    drawn = torch.randint(-2, 9, (4, 500), generator=torch.Generator().manual_seed(1))
    # CLIF's later potentials are irrational: its first step is what meets the threshold.
    found = []
    for backend in ("torch", "fused"):
        node = AT_THE_THRESHOLD[name](backend)
        node.surrogate_function = surrogate.Rect(alpha=1.0)
        x = (drawn / 4).requires_grad_()
        spikes = node(x)
        (spikes * torch.arange(1.0, 5.0)[:, None]).sum().backward()
        found.append((spikes.detach(), node.v.detach(), x.grad))
    for theirs, ours in zip(*found, strict=True):
        assert ours is not None and theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    assert torch.equal(found[1][0][0], (drawn[0] >= 4).float()) and (drawn[0] == 4).any()


@pytest.mark.parametrize("kind", ["lif", "clif"])
def test_behind_batch_norm_a_potential_exactly_at_the_threshold_fires(kind: str):
    norm = SequenceBatchNorm(1, "per-step").eval()
    norm.eps = 0.0  # So that it changes nothing.
    x = torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1, 1, 1)
    node = AT_THE_THRESHOLD[kind]("fused")
    with torch.no_grad():
        spikes = node(x, norm=norm)
    expected = AT_THE_THRESHOLD[kind]("torch")(x)
    assert torch.equal(spikes, expected) and expected.flatten()[0] == 1.0


@pytest.mark.parametrize("name", SURROGATES)
def test_lif_equals_clif_bit_for_bit_at_one_time_step(name: str):
    x, weights = drawn(0, (1, 4, 500))
    found = []
    for kind in ("lif", "clif"):
        inputs = x.clone().requires_grad_()
        spikes = make_neuron(NeuronConfig(kind, surrogate=name))(inputs)
        (spikes * weights).sum().backward()
        found.append((spikes.detach(), inputs.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("kind", ["lif", "clif"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32_inside(kind: str, dtype: torch.dtype):
    x, _ = drawn(0, (6, 3, 100))
    half = x.to(dtype).requires_grad_()
    whole = half.detach().float().requires_grad_()
    spikes = make_neuron(NeuronConfig(kind))(half)
    expected = make_neuron(NeuronConfig(kind))(whole)
    assert spikes.dtype == dtype and torch.equal(spikes.float(), expected)
    spikes.sum().backward()
    expected.sum().backward()
    assert half.grad.dtype == dtype
    assert relative(half.grad, whole.grad) < TOLERANCE[dtype]


@pytest.mark.parametrize("kind", ["lif", "clif"])
def test_results_are_the_same_for_any_number_of_threads(kind: str):
    x, weights = drawn(0, (5, 4, 100_003))
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            found.append(run(make_neuron(NeuronConfig(kind)), x, weights))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0][name], other[name]) for other in found[1:] for name in other)


@pytest.mark.parametrize("kind", ["lif", "clif"])
def test_input_that_is_not_contiguous_is_taken(kind: str):
    x, weights = drawn(0, (4, 6, 50))
    node = make_neuron(NeuronConfig(kind, backend="fused"))
    expected = run(node, x, weights)
    view = x.transpose(1, 2).contiguous().transpose(1, 2)
    assert not view.is_contiguous()
    functional.reset_net(node)
    assert torch.equal(node(view), expected["spikes"])


@pytest.mark.parametrize("kind", ["lif", "clif"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_stay_visible(kind: str, value: float):
    x = torch.zeros(3, 1, 100)
    x[1, 0, 40] = value
    ours = make_neuron(NeuronConfig(kind, backend="fused"))
    theirs = make_neuron(NeuronConfig(kind, backend="torch"))
    ours(x), theirs(x)
    assert torch.equal(torch.isfinite(ours.v), torch.isfinite(theirs.v))
    assert not torch.isfinite(ours.v[0, 40]) and torch.isfinite(ours.v[0, 41])


def test_several_python_threads_compute_at_once():
    x, weights = drawn(0, (4, 2, 80_000))
    expected = run(make_neuron(NeuronConfig("clif")), x, weights)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: run(make_neuron(NeuronConfig("clif")), x, weights), range(12)):
            assert all(torch.equal(found[name], expected[name]) for name in expected)


# The kernels alone: torch's own parallel operations hang in a forked child whatever the neuron.
FORKED = """
import os, numpy as np, torch
from pipeline.neurons.clif import cpu_kernels as clif_kernels
from pipeline.kernels.threads import for_ranges
torch.set_num_threads(2)
torch.ones(10_000_000).sum()
f, x = np.float32, np.ones((4, 200_000), np.float32)
def spikes():
    v, m, out = np.zeros_like(x[0]), np.zeros_like(x[0]), np.zeros_like(x)
    for_ranges(lambda l, r: clif_kernels.forward(x, v, m, f(2), f(1), out, x[:0], v.copy(), m.copy(), l, r), 200_000, 4)
    return out
expected = spikes()
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(spikes(), expected) and expected.any() else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.slow
def test_a_forked_child_computes_too():
    result = subprocess.run(
        [sys.executable, "-c", FORKED], timeout=PATIENCE_S, env=os.environ, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_ranges_cover_every_element_once():
    for elements, steps, threads in itertools.product([1, 63, 64, 65, 100_000], [1, 100], [1, 2, 5]):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        seen: list[tuple[int, int]] = []
        for_ranges(lambda l, r, seen=seen: seen.append((l, r)), elements, steps)
        torch.set_num_threads(before)
        seen.sort()
        assert seen[0][0] == 0 and seen[-1][1] == elements
        assert all(a[1] == b[0] for a, b in itertools.pairwise(seen))


def test_a_second_backward_through_a_fused_neuron_is_refused():
    x = torch.randn(3, 2, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(make_neuron(NeuronConfig("clif"))(x).square().sum(), x, create_graph=True)
    with pytest.raises(DerivativeError, match=r"found a request for second derivatives .*Use backend='torch'"):
        grad.sum().backward()


def test_fused_says_why_it_cannot_and_auto_runs_spikingjellys_code():
    x = torch.randn(3, 2, 4, dtype=torch.float64)
    node = CLIFNode(step_mode="m", backend="fused")
    with pytest.raises(Exception, match=r"backend='fused': expected float32, bfloat16 or float16, found torch.float64"):
        node(x)
    erf = LIFNode(surrogate_function=surrogate.Erf(), step_mode="m", backend="fused")
    with pytest.raises(Exception, match=r"expected a spiking surrogate of Rect, .*, found Erf. Use backend='auto'"):
        erf(x.float())
    theirs, ours = neuron.ComplementaryLIFNode(step_mode="m"), CLIFNode(step_mode="m")
    assert torch.equal(ours(x), theirs(x))


def test_nodes_keep_spikingjellys_words_attributes_and_state():
    node = CLIFNode(tau=2.5, v_threshold=0.9, step_mode="m")
    assert (node.tau, node.v_threshold, node.step_mode) == (2.5, 0.9, "m")
    node(torch.randn(3, 2, 5))
    assert node.v.shape == node.m.shape == (2, 5)
    functional.reset_net(node)
    assert node.v == 0.0 and node.m == 0.0
    assert node.state_dict().keys() == neuron.ComplementaryLIFNode().state_dict().keys()
    single = LIFNode(decay_input=False)
    steps = torch.randn(6, 2, 5)
    many = LIFNode(decay_input=False, step_mode="m")
    assert torch.equal(torch.stack([single(x) for x in steps]), many(steps))


class Team:
    """OpenMP that lets a function run so often, in the caller's thread."""

    def __init__(self, times: int) -> None:
        self.times = times

    def GOMP_parallel(self, member: Callable[[None], None], *_: object) -> None:
        for _ in range(self.times):
            member(None)


def test_a_team_smaller_than_asked_for_does_everything():
    seen: list[tuple[int, int]] = []
    _run_on_openmp(Team(1), lambda l, r: seen.append((l, r)), [(0, 64), (64, 128), (128, 130)])
    assert seen == [(0, 64), (64, 128), (128, 130)]


def test_an_interrupt_that_c_dropped_is_raised_again():
    with pytest.raises(KeyboardInterrupt):
        _run_on_openmp(Team(0), lambda l, r: None, [(0, 64), (64, 128)])


def test_an_error_in_a_team_comes_out():
    def fail(l: int, _: int) -> None:
        raise ZeroDivisionError(l)

    with pytest.raises(ZeroDivisionError):
        _run_on_openmp(Team(2), fail, [(0, 64), (64, 128)])
