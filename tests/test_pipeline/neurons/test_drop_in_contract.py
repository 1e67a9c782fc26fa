"""Our nodes under what PyTorch does with modules, and what they refuse in one line; see docs/drop-in.md."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from drop_in import (
    BACKENDS,
    SETTINGS,
    Factory,
    differences,
    draw,
    fill,
    is_decided,
    nodes,
    our_node,
    potentials,
    run,
    small_network,
    their_node,
)
from patience import PATIENCE_S
from spikingjelly.activation_based import functional
from tolerances import TOLERANCE, relative
from torch import nn
from torch.utils.checkpoint import checkpoint

from preprocess.errors import ConfigError

SHAPE = (4, 2, 2, 6, 6)
ASKED = ("cupy", "triton", "inductor")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=SETTINGS)
def setting(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def network_of(node: Factory, setting: str) -> nn.Sequential:
    network = small_network(node, SETTINGS[setting])
    fill(network, SETTINGS[setting].gain, SETTINGS[setting].gain)
    return network


def pair(setting: str, backend: str) -> tuple[nn.Sequential, nn.Sequential]:
    """The small network with SpikingJelly's nodes and with ours."""
    of_node = SETTINGS[setting]
    return network_of(their_node(of_node), setting), network_of(our_node(of_node, backend), setting)


def node_of(setting: str, backend: str = "auto") -> nn.Module:
    return our_node(SETTINGS[setting], backend)(step_mode="m", **SETTINGS[setting].arguments)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)) + 0.5


def continued(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The second half of a sequence, from the states that are there."""
    return network(x[2:])


def half_way(network: nn.Module, x: torch.Tensor) -> None:
    """Run the first half and keep its states, without its graph."""
    functional.reset_net(network)
    network(x[:2])
    functional.detach_net(network)


def measure_half(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """A training step on the second half from the states that the first half left."""
    network.zero_grad()
    x = x.detach().clone().requires_grad_()
    output = continued(network, x)
    output.square().sum().backward()
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in network.named_parameters()}
    states = {f"state {name}.v": node.v.detach() for name, node in nodes(network).items()}
    found = {"output": output.detach(), "gradient of the input": x.grad, **gradients, **states}
    return {name: value for name, value in found.items() if value is not None}


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
    "replicate": lambda network: copy_by_replication(network),
}


def copy_by_replication(network: nn.Module) -> nn.Module:
    """What DataParallel makes of each module, put together as its `replicate` does, on one device."""
    replica = network._replicate_for_data_parallel()
    for name, child in network.named_children():
        setattr(replica, name, copy_by_replication(child))
    for name, parameter in network._parameters.items():
        setattr(replica, name, parameter)
    for name, buffer in network._buffers.items():
        setattr(replica, name, buffer.clone())
    return replica


@pytest.mark.parametrize("way", COPIES)
def test_copies_made_in_the_middle_of_a_sequence_continue_it(way: str, setting: str, backend: str):
    theirs, ours = pair(setting, backend)
    x = draw(theirs, SHAPE, SETTINGS[setting])
    half_way(theirs, x), half_way(ours, x)
    copied = COPIES[way](ours)
    states = [node.v.clone() for node in nodes(ours).values()]
    expected = measure_half(theirs, x)
    found = continued(copied, x)
    assert torch.equal(found, expected["output"])
    assert all(torch.equal(node.v, before) for node, before in zip(nodes(ours).values(), states, strict=True))
    assert not differences(expected, measure_half(ours, x), exact=backend == "torch")


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies_of_states_with_a_graph_do_as_spikingjellys(way: str, setting: str, backend: str):
    def outcome(network: nn.Module, x: torch.Tensor) -> str:
        network(x)
        try:
            copied = COPIES[way](network)
        except RuntimeError as error:
            return str(error)
        return str([node.v.requires_grad for node in nodes(copied).values()])

    theirs, ours = pair(setting, backend)
    x = draw(theirs, SHAPE, SETTINGS[setting])
    assert outcome(theirs, x) == outcome(ours, x)


def test_a_pickled_state_takes_no_more_room_than_spikingjellys(setting: str, backend: str):
    sizes = []
    for network in pair(setting, backend):
        network(drawn(4, 64, 2, 6, 6))
        sizes.append(len(pickle.dumps(network)))
    assert sizes[1] < sizes[0] + 2000


def test_weights_are_exchanged_with_spikingjelly_both_ways(setting: str, backend: str):
    theirs, ours = pair(setting, backend)
    x = draw(theirs, SHAPE, SETTINGS[setting])
    expected = run(theirs, x)["output"]
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    run(theirs, x)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert torch.equal(run(ours, x)["output"], expected)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.zero_()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(run(theirs, x)["output"], expected)


def test_evaluation_mode_gives_the_same(setting: str, backend: str):
    theirs, ours = pair(setting, backend)
    x = draw(theirs.eval(), SHAPE, SETTINGS[setting])
    ours.eval()
    with torch.no_grad():
        expected, found = theirs(x), ours(x)
    assert torch.equal(expected, found) and found.any()
    for theirs_node, ours_node in zip(nodes(theirs).values(), nodes(ours).values(), strict=True):
        assert relative(ours_node.v, theirs_node.v) < TOLERANCE[torch.float32]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_flow_in_evaluation_mode_as_in_training(dtype: torch.dtype, setting: str, backend: str):
    """SpikingJelly's LIFNode gives them too; its ComplementaryLIFNode gives none there."""
    found = []
    for training in (True, False):
        node = node_of(setting, backend).train(training)
        x = drawn(4, 2, 5).to(dtype).requires_grad_()
        node(x).sum().backward()
        found.append(x.grad)
    assert torch.equal(*found) and found[0].any()


def test_float64_equals_spikingjelly_bit_for_bit(setting: str, backend: str):
    theirs, ours = (network.double() for network in pair(setting, backend))
    x = drawn(*SHAPE).double()
    assert not differences(run(theirs, x), run(ours, x), exact=True)


def test_gradients_far_from_the_threshold_are_exact_in_relative_terms():
    """Of the surrogate that SpikingJelly's LIFNode has by default; silent neurons learn from nothing else."""
    found = []
    for dtype in (torch.float32, torch.float64):
        x = torch.linspace(-9.0, 13.0, 500, dtype=dtype).view(1, 1, -1).requires_grad_()
        node_of("lif-defaults")(x).sum().backward()
        found.append(x.grad.double())
    assert 0 < found[1].min() < 1e-8
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=0.0)


def residual_sum(node: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = node(x)
    y += x
    return y


IN_PLACE: dict[str, Callable[[nn.Module, torch.Tensor], torch.Tensor]] = {
    "residual-sum": residual_sum,
    "product": lambda node, x: node(x).mul_(x),
    "dropout": lambda node, x: nn.functional.dropout(node(x), 0.5, inplace=True),
    "relu": lambda node, x: torch.relu_(node(x) - 0.5),
    "relu-of-spikes": lambda node, x: torch.relu_(node(x)),
    "a-step": lambda node, x: node(x).index_fill_(0, torch.tensor([1]), 2.0),
    "input-afterwards": lambda node, x: input_changed_after(node, x),
}


def input_changed_after(node: nn.Module, x: torch.Tensor) -> torch.Tensor:
    current = 1 * x
    spikes = node(current)
    current += 1
    return spikes * 2


@pytest.mark.parametrize("way", IN_PLACE)
def test_what_lies_behind_a_node_may_work_in_place(way: str, setting: str, backend: str):
    of_node = SETTINGS[setting]
    theirs = their_node(of_node)(step_mode="m", **of_node.arguments)
    ours = node_of(setting, backend)
    x = draw(theirs, (4, 2, 5), of_node)
    assert not differences(run(theirs, x, IN_PLACE[way]), run(ours, x, IN_PLACE[way]), exact=backend == "torch")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_the_same_dtypes_and_spikes(dtype: torch.dtype, setting: str, backend: str):
    """SpikingJelly rounds u to the short dtype at each step, the fused path does not: u is kept off the threshold."""
    of_node = SETTINGS[setting]
    shape = (2, 1, 8)
    for seed in range(1000):
        current = of_node.gain * torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
        if is_decided(potentials(of_node, current), of_node.config, 0.03):
            break
    found = []
    for node in (their_node(of_node), our_node(of_node, backend)):
        network = nn.Sequential(nn.Linear(8, 8, bias=False), node(step_mode="m", **of_node.arguments))
        with torch.no_grad():
            network[0].weight.copy_(torch.eye(8))
        x = current.float().requires_grad_()
        with torch.autocast("cpu", dtype=dtype):
            spikes = network(x)
        spikes.float().sum().backward()
        found.append((spikes.detach(), network[1].v.detach(), x.grad, network[0].weight.grad))
    assert [value.dtype for value in found[0]] == [value.dtype for value in found[1]]
    assert torch.equal(found[0][0], found[1][0]) and found[0][0].any()
    assert all(relative(ours, theirs) < TOLERANCE[dtype] for theirs, ours in zip(*found, strict=True))


# In a process of its own: the compiler's warnings and caches stay out of the other tests.
COMPILED = """
import torch
from drop_in import SETTINGS, differences, draw, fill, our_node, run, small_network, their_node
torch.set_num_threads(1)
for name, setting in SETTINGS.items():
    theirs, ours = (small_network(node, setting) for node in (their_node(setting), our_node(setting)))
    for network in (theirs, ours):
        fill(network, setting.gain, setting.gain)
    x = draw(theirs, (4, 2, 2, 6, 6), setting)
    expected = run(theirs, x)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    found = run(ours, x, lambda _, x: compiled(x))
    assert not differences(expected, found, exact=False), name
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.preloaded
def test_compiled_networks_equal_spikingjellys_eager_ones():
    paths = f"import sys; sys.path[:0] = {[path for path in sys.path if 'tests' in path]!r}\n"
    result = subprocess.run(
        [sys.executable, "-c", paths + COMPILED], timeout=PATIENCE_S, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def loss_of(network: nn.Module) -> Callable[[dict[str, torch.Tensor], torch.Tensor], torch.Tensor]:
    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(network)
        return torch.func.functional_call(network, parameters, (x,)).square().sum()

    return loss


def test_transforms_of_torch_func_give_the_gradients_of_autograd(setting: str):
    """SpikingJelly's own nodes take some of these with some surrogates; ours take all on the fused path."""
    network = nn.Sequential(nn.Linear(5, 4), node_of(setting))
    fill(network, 0.5 * SETTINGS[setting].gain)
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    x = drawn(4, 3, 5)
    loss = loss_of(network)
    loss(dict(network.named_parameters()), x).backward()
    expected = {name: value.grad for name, value in network.named_parameters()}
    whole = torch.func.grad(loss)(parameters, x)
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, x.unsqueeze(2))
    for name, gradient in expected.items():
        assert gradient.any()
        torch.testing.assert_close(whole[name], gradient)
        torch.testing.assert_close(each[name].sum(0), gradient)
    functional.reset_net(network)


def test_a_node_continues_after_inference_mode(setting: str, backend: str):
    node = node_of(setting, backend)
    with torch.inference_mode():
        node(drawn(4, 2, 5))
    functional.reset_net(node)
    x = drawn(4, 2, 5).requires_grad_()
    node(x).sum().backward()
    assert x.grad.any()


@pytest.mark.parametrize("asked", ASKED)
def test_backends_of_spikingjelly_run_what_auto_runs_and_are_recorded(asked: str, setting: str):
    x = drawn(4, 2, 5)
    node = node_of(setting, asked)
    assert node.backend == asked
    assert torch.equal(node(x), node_of(setting)(x))
    later = node_of(setting)
    later.backend = asked
    assert later.backend == asked
    with pytest.raises(ConfigError, match=r"backend: expected auto, fused, torch, .* found 'numpy'"):
        later.backend = "numpy"


def one_line(error: pytest.ExceptionInfo[BaseException]) -> bool:
    return "\n" not in str(error.value)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_that_would_run_a_node_twice_is_refused(reentrant: bool, setting: str, backend: str):
    node = node_of(setting, backend)
    y = checkpoint(node, drawn(4, 2, 5).requires_grad_(), use_reentrant=reentrant)
    with pytest.raises(ConfigError, match=r"as made by torch.utils.checkpoint: .* Use .*checkpoint_module") as error:
        y.sum().backward()
    assert one_line(error)


def test_second_derivatives_of_the_fused_path_are_refused(setting: str):
    x = drawn(4, 2, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(node_of(setting)(x).square().sum(), x, create_graph=True)
    with pytest.raises(ConfigError, match=r"first derivatives .* Use backend='torch'") as error:
        gradient.sum().backward()
    assert one_line(error)


def test_forward_mode_derivatives_of_the_fused_path_are_refused(setting: str):
    node, x = node_of(setting), drawn(4, 2, 5)
    with pytest.raises(ConfigError, match=r"first derivatives .* Use backend='torch'") as error:
        torch.func.jvp(node, (x,), (x,))
    assert one_line(error)


def test_second_derivatives_of_backend_torch_are_spikingjellys(setting: str):
    of_node = SETTINGS[setting]
    found = []
    for node in (their_node(of_node)(step_mode="m", **of_node.arguments), node_of(setting, "torch")):
        x = drawn(4, 2, 5).requires_grad_()
        (gradient,) = torch.autograd.grad(node(x).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
        found.append(x.grad)
    assert torch.equal(*found)


def test_a_sequence_without_steps_is_refused(setting: str, backend: str):
    with pytest.raises(ConfigError, match=r"expected a sequence .* at least one time step, found shape") as error:
        node_of(setting, backend)(torch.zeros(0, 2, 5))
    assert one_line(error)


def test_a_batch_without_samples_is_taken(setting: str, backend: str):
    x = torch.zeros(4, 0, 5, requires_grad=True)
    spikes = node_of(setting, backend)(x)
    spikes.sum().backward()
    assert spikes.shape == (4, 0, 5) and x.grad.shape == x.shape
