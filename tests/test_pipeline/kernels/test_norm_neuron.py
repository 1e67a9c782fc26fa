"""Batch norm and neuron as one equal the two apart, spike by spike and gradient by gradient.

The reference is `neuron(norm(x))` with SpikingJelly's code behind torch's batch norm, in float64. An element is
compared where its potential never comes near the threshold or the surrogate's edge; since all elements of a channel
share its statistics, inputs are drawn until none does.
"""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from patience import PATIENCE_S
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn

from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.kernels import norm_neuron
from pipeline.kernels.fused_function import DerivativeError
from pipeline.kernels.norm_cpu import LONGEST, partition
from pipeline.kernels.norm_neuron import can_fuse
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.blocks import ConvBlock, channels_last
from pipeline.layers.pooling import AveragePool
from pipeline.networks import SpikeCounter, build_network, reset_network
from pipeline.neurons import CLIFNode, LIFNode

TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 1e-2}
NEAR = {torch.float32: 3e-6, torch.bfloat16: 3e-6}
SHAPES = [(5, 4, 24, 7, 9), (1, 3, 3, 5, 1), (4, 2, 64, 3, 3), (6, 5, 1, 4, 4), (3, 2, 600, 2, 3)]
NEURONS = ["clif", "lif", "lif-decay", "lif-detached", "lif-deep"]


def make(kind: str, backend: str, surrogate_function: Any = None) -> nn.Module:
    words: dict[str, Any] = {"surrogate_function": surrogate_function or surrogate.Rect(alpha=1.0)}
    words |= {"step_mode": "m", "backend": backend}
    if kind == "clif":
        return CLIFNode(**words)
    more: dict[str, Any] = {
        "lif": {"decay_input": False},
        "lif-decay": {"decay_input": True, "tau": 1.6},
        "lif-detached": {"decay_input": False, "detach_reset": True},
        "lif-deep": {"decay_input": False, "reset_scale": 1.8},
    }[kind]
    return LIFNode(v_reset=None, **words, **more)


def make_norm(channels: int, mode: Any) -> SequenceBatchNorm:
    norm = SequenceBatchNorm(channels, mode)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(channels, generator=generator) + 0.7)
        norm.bias.copy_(torch.randn(channels, generator=generator) * 0.3 + 0.4)
    return norm


def drawn(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Steps and channels that differ in mean and spread; means are large beside the spread."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.linspace(0.5, 2.0, shape[0]).view(-1, 1, 1, 1, 1)
    channels = torch.linspace(-20.0, 20.0, shape[2]).view(1, 1, -1, 1, 1)
    return torch.randn(shape, generator=generator) * steps + channels


def outcome(node: nn.Module, norm: SequenceBatchNorm, x: torch.Tensor, cuts: list[int], fused: bool) -> dict[str, Any]:
    """Chunks with the state carried over: spikes, gradients, statistics and states."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    weights = drawn(tuple(x.shape), 7).to(torch.float64)
    weights -= weights.mean((1, 3, 4), keepdim=True)
    spikes = []
    for part in x.split(cuts):
        assert can_fuse(node, norm, part) == fused
        spikes.append(node(part, norm=norm) if fused else node(norm(part)))
    fired = torch.cat(spikes)
    loss = (fired.double() * weights).sum()
    for k, name in enumerate(("v", "m")):
        if hasattr(node, name):
            state = getattr(node, name).double()
            loss = loss + (state * weights[-1] * (0.3 + k)).sum()
    loss.backward()
    found = {"spikes": fired, "x": x.grad, "weight": norm.weight.grad, "bias": norm.bias.grad, "v": node.v}
    found |= dict(norm.named_buffers()) | ({"m": node.m} if hasattr(node, "m") else {})
    return {name: value.detach() for name, value in found.items()}


def nearest(kind: str, norm: SequenceBatchNorm, x: torch.Tensor, cuts: list[int]) -> float:
    """How near to the threshold or the rectangle's edges any potential comes, in float64."""
    node, norm = make(kind, "torch"), copy.deepcopy(norm).double()
    distances: list[float] = []
    true = node.surrogate_function

    class Watching(surrogate.Rect):
        def forward(self, distance: torch.Tensor) -> torch.Tensor:
            far = distance.detach().abs()
            distances.append(float(torch.minimum(far, (far - 0.5).abs()).min()))
            return true(distance)

    node.surrogate_function = Watching(alpha=1.0)
    with torch.no_grad():
        for part in x.double().split(cuts):
            if kind == "lif-deep":
                node(norm(part))
            else:
                for step in norm(part):
                    node.step_mode = "s"
                    node(step)
    return min(distances)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-9))


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    assert found.keys() == expected.keys()
    assert torch.equal(found["spikes"].double(), expected["spikes"].double())
    assert torch.equal(found["num_batches_tracked"], expected["num_batches_tracked"])
    for name in found.keys() - {"spikes", "num_batches_tracked"}:
        tolerance = TOLERANCE[torch.float32] if name.startswith("running") else TOLERANCE[dtype]
        assert relative(found[name], expected[name]) < tolerance, (name, relative(found[name], expected[name]))


def compare(kind: str, mode: str, shape: tuple[int, ...], dtype: torch.dtype, cuts: list[int], **words: Any) -> None:
    norm = make_norm(shape[2], mode)
    for seed in range(60):
        x = drawn(shape, seed).to(dtype)
        # Less often at larger ones: the more values, the nearer the nearest.
        if nearest(kind, norm, x, cuts) > NEAR[dtype]:
            break
    else:
        raise AssertionError("no input stays away from the threshold")
    expected = outcome(make(kind, "torch", **words), copy.deepcopy(norm).double(), x.double(), cuts, False)
    found = outcome(make(kind, "auto", **words), norm, channels_last(x), cuts, True)
    assert found["spikes"].dtype == found["x"].dtype == dtype
    assert_equal(found, expected, dtype)


@pytest.mark.parametrize("mode", ["per-step", "joint"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", NEURONS)
def test_spikes_gradients_statistics_and_states_equal_those_of_the_two_apart(
    kind: str, shape: tuple[int, ...], mode: str
):
    compare(kind, mode, shape, torch.float32, [shape[0]])


@pytest.mark.parametrize("mode", ["per-step", "joint"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["clif", "lif"])
def test_bfloat16_is_read_and_written_and_computed_in_float32(kind: str, shape: tuple[int, ...], mode: str):
    compare(kind, mode, shape, torch.bfloat16, [shape[0]])


@pytest.mark.parametrize("mode", ["per-step", "joint"])
@pytest.mark.parametrize("kind", NEURONS)
def test_gradients_reach_back_through_carried_states(kind: str, mode: str):
    compare(kind, mode, (6, 3, 5, 4, 4), torch.float32, [2, 1, 3])


@pytest.mark.parametrize("function", [surrogate.PiecewiseQuadratic(1.2), surrogate.Sigmoid(3.0), surrogate.ATan(2.0)])
@pytest.mark.parametrize("kind", ["clif", "lif"])
def test_other_surrogates_run_too(kind: str, function: surrogate.SurrogateFunctionBase):
    compare(kind, "per-step", (5, 3, 5, 4, 4), torch.float32, [3, 2], surrogate_function=function)


@pytest.mark.parametrize("mode", ["per-step", "joint"])
@pytest.mark.parametrize("kind", ["clif", "lif"])
def test_many_chunks_equal_torchs_to_rounding(kind: str, mode: str):
    """So many elements that some come near the threshold: few spikes may differ, sums hardly do."""
    x = drawn((10, 8, 48, 20, 20), 0)
    assert partition(x[0].numel(), 48, 10).chunks > 3
    norm = make_norm(48, mode)
    expected = outcome(make(kind, "torch"), copy.deepcopy(norm).double(), x.double(), [10], False)
    found = outcome(make(kind, "auto"), norm, channels_last(x), [10], True)
    assert int((found["spikes"].double() != expected["spikes"]).sum()) < 40
    for name in ("running_mean", "running_var"):
        assert relative(found[name], expected[name]) < 1e-6
    assert relative(found["x"], expected["x"]) < 0.02


@pytest.mark.parametrize("kind", ["clif", "lif"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_are_the_same_for_any_number_of_threads(kind: str, dtype: torch.dtype):
    x = channels_last(drawn((4, 8, 24, 35, 33), 0).to(dtype))
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            found.append(outcome(make(kind, "auto"), make_norm(24, "per-step"), x, [4], True))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0][name], other[name]) for other in found[1:] for name in other)


@pytest.mark.parametrize("kind", ["clif", "lif"])
def test_memory_in_any_order_gives_the_same(kind: str):
    x = drawn((4, 3, 5, 6, 7), 0)
    views = (x, channels_last(x), x.transpose(3, 4).contiguous().transpose(3, 4))
    first, *others = (outcome(make(kind, "auto"), make_norm(5, "joint"), view, [4], True) for view in views)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["clif", "lif"])
def test_what_is_not_finite_shows_in_its_channel_alone(kind: str, value: float):
    x = drawn((3, 2, 4, 5, 5), 0)
    x[1, 0, 2, 3, 3] = value
    node, norm = make(kind, "auto"), make_norm(4, "per-step")
    node(channels_last(x), norm=norm)
    finite = torch.tensor([True, True, False, True])
    assert torch.equal(torch.isfinite(node.v).flatten(2).all(2).all(0), finite)
    assert not torch.isfinite(node.v[:, 2]).any()
    assert torch.equal(torch.isfinite(norm.running_mean), finite)
    assert torch.equal(torch.isfinite(norm.running_var), finite)


def test_large_means_do_not_swallow_the_variance():
    x = torch.randn(2, 4, 3, 9, 9, generator=torch.Generator().manual_seed(0)) * 0.01 + 300.0
    norm, expected = make_norm(3, "joint"), make_norm(3, "joint").double()
    make("lif", "auto")(channels_last(x), norm=norm)
    expected(x.double())
    torch.testing.assert_close(norm.running_var.double(), expected.running_var, rtol=1e-6, atol=0.0)
    constant = torch.full((2, 4, 3, 9, 9), 300.1)
    mean, var, _ = norm_neuron._statistics(constant, False)
    assert (var == 0.0).all() and np.allclose(mean, 300.1)


def test_without_gradients_statistics_move_and_evaluation_uses_them():
    x = drawn((4, 3, 5, 6, 7), 0)
    for mode, kind in itertools.product(("per-step", "joint"), ("clif", "lif")):
        fused, apart = make_norm(5, mode), make_norm(5, mode)
        ours, theirs = make(kind, "auto"), make(kind, "torch")
        with torch.no_grad():
            for _ in range(2):
                assert torch.equal(ours(channels_last(x), norm=fused), theirs(apart(x)))
            fused.eval(), apart.eval()
            assert can_fuse(ours, fused, x)
            assert torch.equal(ours(channels_last(x), norm=fused), theirs(apart(x)))
            fused.train()
        assert ours.v.grad_fn is None
        assert fused.num_batches_tracked == (8 if mode == "per-step" else 2)
        assert relative(fused.running_var, apart.running_var) < 1e-6
        # Training goes on after evaluation.
        functional.reset_net(ours)
        outcome(ours, fused, channels_last(x), [4], True)


def test_what_has_no_kernel_runs_apart():
    x = channels_last(drawn((3, 2, 4, 5, 5), 0))
    norm, node = make_norm(4, "joint"), make("clif", "auto")
    assert can_fuse(node, norm, x)
    words: dict[str, Any] = {"step_mode": "m"}
    for other in (
        CLIFNode(**words, backend="torch"),
        CLIFNode(**words, detach_m=True),
        CLIFNode(**words, temporal_window=1),
        CLIFNode(**words, store_state_seqs=True),
        CLIFNode(**words, surrogate_function=surrogate.Erf()),
        CLIFNode(),
        LIFNode(**words, v_reset=0.0),
        neuron.LIFNode(**words),
        nn.ReLU(),
    ):
        assert not can_fuse(other, norm, x), other
    assert not can_fuse(node, norm, x.double()) and not can_fuse(node, norm, x.half())
    assert not can_fuse(node, copy.deepcopy(norm).double(), x)
    assert not can_fuse(node, make_norm(LONGEST + 1, "joint"), torch.zeros(1, 2, LONGEST + 1, 2, 2))
    assert not can_fuse(node, copy.deepcopy(norm).eval(), x)
    assert not can_fuse(node, make_norm(4, "per-step"), torch.zeros(5, 1, 4, 1, 1))
    for module in (norm, node):
        register = module.register_forward_hook if module is norm else module.register_forward_pre_hook
        hook = register(lambda *_: None)
        assert not can_fuse(node, norm, x)
        hook.remove()
    assert can_fuse(node, norm, x)


def test_a_second_backward_is_refused():
    x = drawn((3, 2, 4, 5, 5), 0).requires_grad_()
    spikes = make("clif", "auto")(x, norm=make_norm(4, "joint"))
    (grad,) = torch.autograd.grad(spikes.square().sum(), x, create_graph=True)
    with pytest.raises(DerivativeError, match=r"found a request for second derivatives .*Use backend='torch'"):
        grad.sum().backward()


def networks(name: str, batch_norm: Any, kind: str, **words: Any) -> Iterator[nn.Module]:
    """The same network fused and apart."""
    for backend in ("auto", "torch"):
        config = NetworkConfig(name, width=0.125, batch_norm=batch_norm, **words)
        given: dict[str, Any] = {"channels": 2, "classes": 5, "size": (33, 32), "timesteps": 4, "seed": 3}
        yield build_network(config, NeuronConfig(kind, backend=backend), **given).train()


@pytest.mark.parametrize("batch_norm", ["per-step", "joint"])
@pytest.mark.parametrize("kind", ["clif", "lif"])
@pytest.mark.parametrize("name", ["vggsnn", "spiking-vgg11", "plif-net-cifar10dvs"])
def test_whole_networks_equal_unfused_ones(name: str, kind: str, batch_norm: str):
    frames = torch.poisson(torch.full((4, 3, 2, 33, 32), 0.7), generator=torch.Generator().manual_seed(0))
    found = []
    for network in networks(name, batch_norm, kind):
        with SpikeCounter(network) as counter:
            logits = network(frames)
            (logits * torch.linspace(-1.0, 2.0, 5)).square().mean().backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
        reset_network(network)
        with torch.no_grad():
            evaluated = network.eval()(frames)
        found.append((logits.detach(), gradient, evaluated, counter.rates(), network.state_dict()))
    ours, theirs = found
    # A potential within rounding of the threshold may fire in one and not in the other; in a small network few do.
    assert relative(ours[0], theirs[0]) < 0.02 and relative(ours[2], theirs[2]) < 0.02
    assert relative(ours[1], theirs[1]) < 0.02
    assert ours[3].keys() == theirs[3].keys()
    assert all(ours[3][key] == pytest.approx(theirs[3][key], abs=2e-3) for key in ours[3])
    assert all(torch.allclose(ours[4][key], theirs[4][key], rtol=1e-3, atol=1e-3) for key in ours[4])


def test_fused_networks_stay_with_the_channel_fastest_in_memory():
    network, apart = networks("vggsnn", "joint", "clif")
    seen: list[torch.Tensor] = []
    for module in network.modules():
        if isinstance(module, (ConvBlock, AveragePool)):
            module.register_forward_hook(lambda _m, _i, out: seen.append(out))
    network(torch.rand(4, 3, 2, 33, 32)).square().sum().backward()
    assert len(seen) == 12
    assert all(out.movedim(2, -1).is_contiguous() for out in seen)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.is_contiguous(memory_format=torch.channels_last)
            assert module.weight.grad.stride() == module.weight.stride()
    assert all(parameter.is_contiguous() for parameter in apart.parameters())
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), apart.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["clif", "lif"])
def test_neurons_alone_take_and_give_memory_with_the_channel_fastest(kind: str):
    found = []
    for x in (drawn((4, 2, 5, 3, 3), 0) * 0.1, channels_last(drawn((4, 2, 5, 3, 3), 0) * 0.1)):
        node, leaf = make(kind, "fused"), x.clone(memory_format=torch.preserve_format).requires_grad_()
        halves = [node(leaf[:2]), node(leaf[2:])]
        assert all(half.stride() == x.stride() for half in halves)
        spikes = torch.cat(halves)
        (spikes * drawn(tuple(x.shape), 1)).sum().add(node.v.square().sum()).backward()
        found.append((spikes.detach(), node.v.detach(), leaf.grad))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_moving_a_network_keeps_its_weights_and_lays_them_out():
    network, _ = networks("vggsnn", "joint", "clif")
    before = copy.deepcopy(network.state_dict())
    moved = network.double().float()
    assert all(torch.equal(value, before[name]) for name, value in moved.state_dict().items())
    assert moved.features.conv1.conv.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(6, 8), (7, 9), (2, 3), (2, 2)])
@pytest.mark.parametrize("channels", [1, 3, 24])
def test_pooling_with_the_channel_fastest_equals_torchs(channels: int, size: tuple[int, int], dtype: torch.dtype):
    x = drawn((3, 2, channels, *size), 0).to(dtype)
    ours, theirs = channels_last(x).clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = AveragePool()(ours), nn.functional.avg_pool2d(theirs.flatten(0, 1), 2).unflatten(0, (3, 2))
    weights = drawn(tuple(expected.shape), 1).to(dtype)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(found, expected)
    assert torch.equal(ours.grad, theirs.grad)


# In a process of its own: the compiler's warnings and caches stay out of the other tests.
COMPILED = """
import torch
from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.networks import build_network, reset_network
network = build_network(NetworkConfig("spiking-vgg-small", width=0.0625), NeuronConfig("clif"), channels=2, classes=3,
    size=(16, 16), timesteps=3, seed=0)
torch.manual_seed(1)
x = torch.randn(3, 4, 2, 16, 16)
found = []
for compiles in (False, True):
    if compiles:
        network.compile(backend="aot_eager")
    network.zero_grad()
    out = network(x)
    out.square().sum().backward()
    reset_network(network)
    found.append((out.detach(), network.features.conv1.conv.weight.grad.clone()))
for a, b in zip(*found):
    assert float((a - b).norm() / a.norm()) < 0.05, (a, b)
"""


@pytest.mark.long
@pytest.mark.slow
def test_a_network_still_compiles():
    result = subprocess.run([sys.executable, "-c", COMPILED], timeout=PATIENCE_S, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
