"""The fused neurons do what autograd lets one do with SpikingJelly's, with the same gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn

from pipeline.kernels.fused_function import DerivativeError
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.neurons import CLIFNode, LIFNode
from preprocess.errors import ConfigError

T = 4
KINDS = ("lif", "clif", "lif-hard")
MEMORY = ("contiguous", "channels-last")

Node = LIFNode | CLIFNode


def make(kind: str, **arguments: object) -> Node:
    if kind == "clif":
        return CLIFNode(1.8, step_mode="m", **arguments)
    v_reset = 0.1 if kind == "lif-hard" else None
    return LIFNode(1.8, False, v_reset=v_reset, surrogate_function=surrogate.ATan(), step_mode="m", **arguments)


def drawn(memory: str = "contiguous", seed: int = 0) -> torch.Tensor:
    x = torch.randn(T, 2, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 1.3 + 0.4
    return x if memory == "contiguous" else x.movedim(2, -1).contiguous().movedim(-1, 2)


def assert_same_as_torch(kind: str, memory: str, work: Callable[[Node, torch.Tensor], torch.Tensor]) -> None:
    """Run ``work`` (a loss of a node and an input) with both backends; spikes, states and gradients agree."""
    found = []
    for backend in ("fused", "torch"):
        node, x = make(kind, backend=backend), drawn(memory).requires_grad_()
        loss = work(node, x)
        loss.backward()
        assert x.grad is not None and x.grad.any()
        found.append([loss.detach(), x.grad, *(state.detach() for state in node.memories())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


every = pytest.mark.parametrize(("kind", "memory"), [(kind, memory) for kind in KINDS for memory in MEMORY])


@every
def test_results_are_no_views(kind: str, memory: str):
    node = make(kind, backend="fused")
    spikes = node(drawn(memory).requires_grad_())
    assert not any(result._is_view() for result in (spikes, *node.memories()))
    assert spikes.stride() == drawn(memory).stride()


@every
def test_truncated_back_propagation_detaches_states_between_chunks(kind: str, memory: str):
    def work(node: Node, x: torch.Tensor) -> torch.Tensor:
        first = (node(x) * x.detach()).sum()
        first.backward()
        functional.detach_net(node)
        assert not any(state.requires_grad for state in node.memories())
        return (node(x.flip(0)) * x.detach()).sum()

    assert_same_as_torch(kind, memory, work)


@every
def test_states_change_in_place(kind: str, memory: str):
    def work(node: Node, x: torch.Tensor) -> torch.Tensor:
        node(x)
        for name in dict(node.named_memories()):
            state = getattr(node, name)
            state *= 0.5
        return (node(x) * x.detach()).sum()

    assert_same_as_torch(kind, memory, work)


@every
def test_spikes_change_in_place(kind: str, memory: str):
    def work(node: Node, x: torch.Tensor) -> torch.Tensor:
        y = node(x)
        y += x
        y = node(y)
        y[1:].mul_(2.0)
        y = nn.Dropout(0.0, inplace=True)(nn.ReLU(inplace=True)(node(y)))
        return (y * x.detach()).sum()

    assert_same_as_torch(kind, memory, work)


def test_spikes_changed_in_place_leave_reused_memory_alone():
    x = torch.randn(T, 2, 40_000, generator=torch.Generator().manual_seed(0))
    node = make("clif", backend="fused")
    expected = node(x).clone()
    for _ in range(3):
        node.reset()
        node(x).fill_(7.0)
    node.reset()
    assert torch.equal(node(x), expected)


@pytest.mark.parametrize("kind", ["lif", "clif"])
def test_results_of_batch_norm_and_neuron_as_one_change_in_place(kind: str):
    found = []
    for together in (True, False):
        norm, node = SequenceBatchNorm(3, "joint"), make(kind, backend="fused")
        x = drawn("channels-last").requires_grad_()
        y = node(x, norm=norm) if together else node(norm(x))
        y += x
        functional.detach_net(node)
        (y * x.detach()).sum().backward()
        found.append([y.detach(), x.grad, norm.weight.grad, *node.memories()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_results_of_a_windowed_sequence_change_in_place(kind: str):
    node, x = make(kind, backend="fused", temporal_window=1), drawn().requires_grad_()
    y = node(x)
    y += x
    functional.detach_net(node)
    y.sum().backward()
    assert x.grad is not None and not any(state.requires_grad for state in node.memories())


@pytest.mark.parametrize("kind", KINDS)
def test_results_under_autocast_change_in_place(kind: str):
    layer, node = nn.Linear(5, 5), make(kind, backend="fused")
    with torch.autocast("cpu", torch.bfloat16):
        y = node(layer(drawn()))
        assert y.dtype == torch.bfloat16
        y += 1.0
        functional.detach_net(node)
        y = y + node(layer(drawn(seed=1)))
    y.float().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step_mode", ["m", "s"])
@pytest.mark.parametrize(("backend", "dtype"), [("auto", torch.float64), ("torch", torch.float32)])
def test_evaluation_mode_gives_gradients(kind: str, step_mode: str, backend: str, dtype: torch.dtype):
    grads = []
    for training in (True, False):
        node, x = make(kind, backend=backend).train(training), drawn().to(dtype).requires_grad_()
        node.step_mode = step_mode
        (node(x) * x.detach()).sum().backward()
        assert x.grad is not None and x.grad.any()
        grads.append(x.grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize("v_reset", [None, 0.0, 0.2])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("decay_input", [False, True])
def test_float64_equals_spikingjellys_lif(v_reset: float | None, detach_reset: bool, decay_input: bool):
    arguments = (1.8, decay_input, 1.0, v_reset, surrogate.ATan(), detach_reset, "m")
    found = []
    for node in (LIFNode(*arguments), neuron.LIFNode(*arguments)):
        node.eval()
        x = drawn().double().requires_grad_()
        spikes = node(x)
        (spikes * x.detach()).sum().backward()
        found.append((spikes, x.grad, node.v))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == torch.float64 and torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_single_samples_through_functional_call(kind: str):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), make(kind, backend="fused"), nn.Linear(6, 3), make(kind, backend="fused"))
    parameters = dict(network.named_parameters())
    samples = torch.randn(7, T, 2, 5) * 3

    def loss(values: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(network)
        return (torch.func.functional_call(network, values, (x,)) ** 2).sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, samples)
    together = torch.func.grad(lambda values: torch.func.vmap(lambda x: loss(values, x))(samples).sum())(parameters)
    for k, x in enumerate(samples):
        expected = torch.autograd.grad(loss(parameters, x), list(parameters.values()))
        for name, grad in zip(parameters, expected, strict=True):
            torch.testing.assert_close(found[name][k], grad, rtol=1e-4, atol=1e-5)
    for name in parameters:
        torch.testing.assert_close(together[name], found[name].sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_jacobian_equals_that_of_the_torch_backend(kind: str):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)) * 2
    ours = torch.func.jacrev(make(kind, backend="fused"))(x)
    theirs = torch.autograd.functional.jacobian(make(kind, backend="torch"), x)
    assert ours.any()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def second_order(node: Node, x: torch.Tensor) -> None:
    (grad,) = torch.autograd.grad(node(x).sum(), x, create_graph=True)
    grad.sum().backward()


def nested(node: Node, x: torch.Tensor) -> None:
    def first(y: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda z: node(z).sum())(y).sum()

    torch.func.grad(first)(x.detach())


def forward_mode(node: Node, x: torch.Tensor) -> None:
    torch.func.jvp(node, (x.detach(),), (x.detach(),))


def of_batch_norm_too(node: Node, x: torch.Tensor) -> None:
    norm = SequenceBatchNorm(3, "joint")
    grads = torch.autograd.grad(node(x, norm=norm).sum(), [x, norm.weight], create_graph=True)
    sum(grad.sum() for grad in grads).backward()


@pytest.mark.parametrize("kind", ["lif", "clif"])
@pytest.mark.parametrize("work", [second_order, nested, forward_mode, of_batch_norm_too])
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_other_derivatives_are_refused_in_one_line(kind: str, work: Callable[[Node, torch.Tensor], None]):
    text = r"^backend: expected first derivatives .* Use backend='torch' and .*\)\.$"
    with pytest.raises(DerivativeError, match=text):
        work(make(kind), drawn().requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
def test_the_torch_backend_has_second_derivatives(kind: str):
    x = drawn().requires_grad_()
    (grad,) = torch.autograd.grad(make(kind, backend="torch")(x).square().sum(), x, create_graph=True)
    grad.square().sum().backward()
    assert x.grad is not None and x.grad.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_sequence_without_steps_is_refused(kind: str, backend: str):
    text = r"expected a sequence .* at least one time step, found shape \(0, 2, 3, 5, 5\)"
    with pytest.raises(ConfigError, match=text):
        make(kind, backend=backend)(drawn()[:0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_threshold_that_is_a_tensor_runs_spikingjellys_code(kind: str):
    x = torch.randn(T, 2, 3, generator=torch.Generator().manual_seed(0)) * 2
    one_hot = torch.eye(3)[:2]
    found = []
    for backend in ("auto", "torch"):
        node = make(kind, backend=backend)
        functional.set_threshold_margin(node, one_hot)
        found.append(node(x))
    assert torch.equal(*found)
    node = make(kind, backend="fused")
    functional.set_threshold_margin(node, one_hot)
    with pytest.raises(ConfigError, match=r"backend='fused': expected a number for each of tau, v_threshold"):
        node(x)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learnt_threshold_gets_its_gradient(kind: str):
    node = make(kind)
    del node.v_threshold
    node.v_threshold = nn.Parameter(torch.tensor(1.0))
    node(drawn()).sum().backward()
    assert node.v_threshold.grad


@pytest.mark.parametrize("kind", KINDS)
def test_several_gradients_at_once_are_refused_in_one_line(kind: str):
    x = drawn().requires_grad_()
    y = make(kind)(x)
    with pytest.raises(DerivativeError, match=r"found several .* Use torch.func.jacrev") as error:
        torch.autograd.grad(y, x, torch.ones(2, *y.shape), is_grads_batched=True)
    assert "\n" not in str(error.value)


class OwnSurrogate(nn.Module):
    """One without SpikingJelly's alpha."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return surrogate.atan.apply(x, 2.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", [surrogate.PiecewiseLeakyReLU(), OwnSurrogate()])
def test_a_surrogate_without_alpha_runs_spikingjellys_code(kind: str, function: nn.Module):
    ours = make(kind)
    theirs = neuron.ComplementaryLIFNode(1.8) if kind == "clif" else neuron.LIFNode(1.8, False, 1.0, ours.v_reset)
    theirs.step_mode = "m"
    found = []
    for node in (ours, theirs):
        node.surrogate_function, x = function, drawn().requires_grad_()
        (node(x) * drawn(seed=1)).sum().backward()
        found.append((x.grad, node.v.detach()))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore")  # torch's, of jit and of what tracing may miss
@pytest.mark.parametrize("kind", KINDS)
def test_torch_jit_trace_records_a_node_step_by_step(kind: str):
    node = make(kind).eval()
    with torch.no_grad():
        traced = torch.jit.trace(nn.Sequential(nn.Identity(), node), drawn(), check_trace=False)
        node.reset()
        assert torch.equal(traced(drawn(seed=1)), make(kind)(drawn(seed=1)))


def test_a_subclass_may_have_memories_of_its_own():
    class Counting(LIFNode):
        def __init__(self) -> None:
            super().__init__(step_mode="m")
            self.register_memory("calls", 0.0)

    node = Counting()
    node.calls = 2.0
    assert torch.equal(node(drawn()), LIFNode(step_mode="m")(drawn()))
    assert node.calls == 2.0
    node.reset()
    assert node.calls == 0.0


def test_a_subclass_of_clif_with_a_step_of_its_own_runs_that_step():
    class Louder(CLIFNode):
        def single_step_functional_forward(self, inputs, states, **kwargs):
            return super().single_step_functional_forward((3 * inputs[0],), states, **kwargs)

    assert torch.equal(Louder(step_mode="m")(drawn()), CLIFNode(step_mode="m")(3 * drawn()))
    assert not Louder(step_mode="m").takes_norm
    with pytest.raises(ConfigError, match=r"backend='fused': expected CLIF's own step"):
        Louder(step_mode="m", backend="fused")(drawn())
