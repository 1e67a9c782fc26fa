"""Our nodes inside SpikingJelly's layers, containers, functions, monitors and memory savers; see docs/drop-in.md."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache

import pytest
import torch
from drop_in import (
    BACKENDS,
    SETTINGS,
    THEIRS,
    Factory,
    Setting,
    differences,
    draw,
    fill,
    nodes,
    our_node,
    run,
    small_network,
    their_node,
)
from spikingjelly.activation_based import base, functional, layer, memopt, monitor, neuron, op_counter
from spikingjelly.activation_based.functional import conv_bn_fusion
from spikingjelly.activation_based.model.spiking_vggws_ottt import Scale
from torch import nn

T, SHAPE = 4, (4, 2, 2, 6, 6)

Build = Callable[[Factory, Setting], nn.Module]
Forward = Callable[[nn.Module, torch.Tensor], torch.Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def compare(
    build: Build,
    setting: str,
    shape: tuple[int, ...] = SHAPE,
    forward: Forward = lambda network, x: network(x),
    measure: Callable[..., dict[str, torch.Tensor]] = run,
    plain: Build | None = None,
) -> None:
    """Assert that a module with our nodes does as with SpikingJelly's, on either backend.

    Args:
        build: Makes the module of a node and its setting.
        setting: A name in SETTINGS.
        shape: Of the input.
        forward: How the module is called.
        measure: What is compared.
        plain: Makes the same where neurons are called in a way that hooks do not see.
    """
    of_node = SETTINGS[setting]

    def filled(build: Build, node: Factory) -> nn.Module:
        network = build(node, of_node)
        fill(network, of_node.gain, of_node.gain)
        return network

    def theirs() -> nn.Module:
        return filled(build, their_node(of_node))

    x = draw(filled(plain, their_node(of_node)), shape, of_node) if plain else draw(theirs(), shape, of_node, forward)
    expected = measure(theirs(), x, forward)
    in_float64 = cache(lambda: measure(theirs().double(), x.double(), forward))
    for backend in BACKENDS:
        ours = filled(build, our_node(of_node, backend))
        assert nodes(ours) and all(type(node).__module__.startswith("pipeline.") for node in nodes(ours).values())
        assert not differences(expected, measure(ours, x, forward), backend == "torch", in_float64), backend


def single_steps(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    functional.set_step_mode(network, "s")
    return functional.multi_step_forward(x, network)


def time_last(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    functional.set_step_mode(network, "s")
    return functional.t_last_multi_step_forward(x.movedim(0, -1), network).movedim(-1, 0)


def chunks(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return functional.chunk_multi_step_forward(2, x, network)


def truncated(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Back-propagation through two steps at a time, as SpikingJelly documents it."""
    first = network(x[:2])
    if first.requires_grad:
        first.square().sum().backward()
    functional.detach_net(network)
    return network(x[2:])


def detached_states(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    first = network(x[:2])
    for node in nodes(network).values():
        node.v.detach_()
    return torch.cat([first, network(x[2:])])


def states_changed_in_place(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    first = network(x[:2])
    for node in nodes(network).values():
        node.v *= 0.5
    return torch.cat([first, network(x[2:])])


def own_initial_states(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    for node in nodes(network).values():
        node.set_reset_value("v", 0.25)
    functional.reset_net(network)
    return network(x)


def handed_states(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Two halves through SpikingJelly's functional form, which leaves the modules' own states alone."""
    step = base.to_functional_forward(network)
    (first,), states = step((x[:2],), tuple(base.extract_memories(network)))
    (second,), states = step((x[2:],), states)
    base.load_memories(network, list(states))
    return torch.cat([first, second])


FORWARDS: dict[str, Forward] = {
    "multi-step": lambda network, x: network(x),
    "single-step": single_steps,
    "time-last": time_last,
    "chunks": chunks,
    "truncated": truncated,
    "detached-states": detached_states,
    "states-changed-in-place": states_changed_in_place,
    "own-initial-states": own_initial_states,
    "handed-states": handed_states,
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("forward", FORWARDS.values(), ids=FORWARDS)
def test_sequences_run_in_every_way_that_spikingjelly_has(forward: Forward, setting: str):
    compare(small_network, setting, forward=forward, plain=small_network if forward is handed_states else None)


def to_steps(*modules: nn.Module) -> nn.Sequential:
    """Modules of SpikingJelly in multi-step mode."""
    network = nn.Sequential(*modules)
    functional.set_step_mode(network, "m")
    return network


def with_node(*modules: nn.Module) -> Build:
    """A neuron, layers of SpikingJelly behind it, and one more neuron behind those, both with enough input to fire."""
    return lambda node, of: to_steps(
        Scale(3.0), node(**of.arguments), *deepcopy(modules), Scale(3.0), node(**of.arguments)
    )


def last_time(node: Factory, of: Setting) -> nn.Module:
    class TimeLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = layer.TLastMultiStepContainer(nn.Conv2d(2, 2, 3), node(**of.arguments))
            self.rest = layer.TLastSeqToANNContainer(nn.Conv2d(2, 2, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rest(self.steps(x.movedim(0, -1))).movedim(-1, 0)

    return TimeLast()


def with_attention(attention: type[nn.Module]) -> Build:
    """Attention over eight channels, so that there is enough to attend to."""
    tokens = nn.Identity() if attention is layer.SpikeDrivenSelfAttention else layer.Flatten(2)
    return lambda node, of: to_steps(
        layer.Conv2d(2, 8, 1),
        layer.BatchNorm2d(8),
        node(**of.arguments),
        Scale(4.0),
        deepcopy(tokens),
        attention(8, 1, spiking_neuron=node, **of.arguments),
    )


# Which of SpikingJelly's layers are compared; what differs in the number of dimensions alone stands for its siblings.
LAYERS: dict[str, Build] = {
    "MultiStepContainer": lambda node, of: layer.MultiStepContainer(nn.Conv2d(2, 2, 3), node(**of.arguments)),
    "SeqToANNContainer": lambda node, of: nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)), node(step_mode="m", **of.arguments)
    ),
    "TLastMultiStepContainer": last_time,
    "TLastSeqToANNContainer": last_time,
    "StepModeContainer": lambda node, of: layer.StepModeContainer(True, "m", nn.Conv2d(2, 2, 3), node(**of.arguments)),
    "ElementWiseRecurrentContainer": lambda node, of: layer.ElementWiseRecurrentContainer(
        node(**of.arguments), torch.add, step_mode="m"
    ),
    "LinearRecurrentContainer": lambda node, of: layer.LinearRecurrentContainer(
        node(**of.arguments), 6, 6, step_mode="m"
    ),
    "Dropout": with_node(layer.Dropout(0.5)),
    "Dropout2d": with_node(layer.Dropout2d(0.5)),
    "DropConnectLinear": with_node(layer.Flatten(), layer.DropConnectLinear(72, 5, samples_num=8)),
    "SynapseFilter": with_node(layer.SynapseFilter(2.0)),
    "Delay": with_node(layer.Delay(1)),
    "VotingLayer": with_node(layer.Flatten(), layer.VotingLayer(8)),
    "NeuNorm": with_node(layer.NeuNorm(2, 6, 6)),
    "BatchNorm2d": with_node(layer.BatchNorm2d(2)),
    "GroupNorm": with_node(layer.GroupNorm(1, 2)),
    "ThresholdDependentBatchNorm2d": with_node(layer.ThresholdDependentBatchNorm2d(1.0, 1.0, 2)),
    "TemporalEffectiveBatchNorm2d": with_node(layer.TemporalEffectiveBatchNorm2d(T, 2)),
    "BatchNormThroughTime2d": with_node(layer.BatchNormThroughTime2d(T, 2)),
    "TemporalWiseAttention": with_node(layer.TemporalWiseAttention(T, 2)),
    "MultiDimensionalAttention": with_node(layer.MultiDimensionalAttention(T, 2, 2, 1), Scale(8.0)),
    "Conv2d": with_node(layer.Conv2d(2, 3, 3)),
    "ConvTranspose2d": with_node(layer.ConvTranspose2d(2, 3, 2)),
    "WSConv2d": with_node(layer.WSConv2d(2, 3, 3)),
    "Upsample": with_node(layer.Upsample(scale_factor=2)),
    "MaxPool2d": with_node(layer.MaxPool2d(2)),
    "AvgPool2d": with_node(layer.AvgPool2d(2)),
    "AdaptiveAvgPool2d": with_node(layer.AdaptiveAvgPool2d(2)),
    "Flatten": with_node(layer.Flatten()),
    "Linear": with_node(layer.Linear(6, 5)),
    "WSLinear": with_node(layer.WSLinear(6, 5)),
    "SpikingSelfAttention": with_attention(layer.SpikingSelfAttention),
    "TokenQKAttention": with_attention(layer.TokenQKAttention),
    "ChannelQKAttention": with_attention(layer.ChannelQKAttention),
    "SpikeDrivenSelfAttention": with_attention(layer.SpikeDrivenSelfAttention),
}
NOT_LAYERS = {
    "QKAttention": "stands for TokenQKAttention and ChannelQKAttention",
    "PrintShapeModule": "prints",
    "MaxUnpool2d": "takes indices, not spikes",
    "SpikeCountToBinary": "takes counts in a fixed number of slots, not a neuron's spikes",
    "TemporalBinSum": "sums what SpikeCountToBinary made",
    "ReplaceforGrad": "a function inside OTTTSequential",
    "GradwithTrace": "takes OTTTLIFNode's traces",
    "SpikeTraceOp": "takes OTTTLIFNode's traces",
    "OTTTSequential": "holds the OTTT networks, which are compared whole",
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_spikingjelly_work_with_our_nodes(name: str, setting: str):
    compare(LAYERS[name], setting)


@pytest.mark.parametrize("name", LAYERS)
def test_neurons_of_the_compared_layers_fire(name: str):
    of_node = SETTINGS["lif-defaults"]
    network = LAYERS[name](their_node(of_node), of_node)
    fill(network, of_node.gain, of_node.gain)
    with monitor.OutputMonitor(network, neuron.BaseNode, lambda out: float(out.detach().mean())) as rates:
        network(draw(network, SHAPE, of_node))
    assert all(max(rates[name]) > 0 for name in rates.monitored_layers), rates.records


def test_no_layer_of_spikingjelly_is_left_out():
    classes = {name for name, value in vars(layer).items() if inspect.isclass(value)}
    named = {
        re.sub("[13]d$", "2d", name) for name in classes if vars(layer)[name].__module__.startswith(layer.__name__)
    }
    assert named == LAYERS.keys() | NOT_LAYERS.keys()


@pytest.mark.parametrize("setting", SETTINGS)
def test_fused_and_packed_batch_norms_trace_through_our_nodes(setting: str):
    def fused(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return conv_bn_fusion.fuse_conv_bn_eval_modules(network.eval())(x)

    def packed(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return conv_bn_fusion.pack_conv_bn_train_modules(network.train())(x)

    of_node = SETTINGS[setting]
    for forward in (fused, packed):
        networks = [small_network(node, of_node) for node in (their_node(of_node), our_node(of_node))]
        for network in networks:
            fill(network, of_node.gain, of_node.gain)
        x = draw(networks[0], SHAPE, of_node, forward)
        theirs, ours = (forward(network, x) for network in networks)
        assert torch.equal(theirs, ours) and theirs.any()


@pytest.mark.parametrize("setting", ["lif-paper", "clif-paper"])
def test_a_threshold_for_each_output_neuron_is_taken(setting: str):
    def forward(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        functional.set_threshold_margin(network, torch.eye(6)[:2], 1.0, 0.75, 1.25)
        return network(x)

    # SpikingJelly's LIFNode takes it with a surrogate such as the rectangle; with the sigmoid its operator refuses.
    compare(lambda node, of: node(step_mode="m", **of.arguments), setting, (T, 2, 6), forward)


Monitored = Callable[[nn.Module, type], monitor.BaseMonitor]
MONITORS: dict[str, Monitored] = {
    "output": monitor.OutputMonitor,
    "input": monitor.InputMonitor,
    "v": lambda network, kind: monitor.AttributeMonitor("v", False, network, kind),
    "v-before": lambda network, kind: monitor.AttributeMonitor("v", True, network, kind),
    "gradient-of-input": monitor.GradInputMonitor,
    "gradient-of-output": monitor.GradOutputMonitor,
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", MONITORS)
def test_monitors_record_the_same(name: str, setting: str):
    def recorded(network: nn.Module, x: torch.Tensor, forward: Forward) -> dict[str, torch.Tensor]:
        with MONITORS[name](network, neuron.BaseNode) as records:
            run(network, x, lambda network, x: forward(network, x[:2]) + forward(network, x[2:]))
        assert len(records.records) == 2 * len(nodes(network))
        return {f"state {i}": torch.as_tensor(value).detach() for i, value in enumerate(records.records)}

    compare(small_network, setting, measure=recorded)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_states_of_every_step_are_stored(step_mode: str, setting: str):
    attribute = "store_v_seq" if SETTINGS[setting].kind == "lif" else "store_state_seqs"

    def storing(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for node in nodes(network).values():
            setattr(node, attribute, True)
        functional.set_step_mode(network, step_mode)
        return functional.multi_step_forward(x, network) if step_mode == "s" else network(x)

    def stored(network: nn.Module, x: torch.Tensor, forward: Forward) -> dict[str, torch.Tensor]:
        measured = run(network, x, forward)
        for name, node in nodes(network).items():
            sequences = [node.v_seq] if attribute == "store_v_seq" else node.state_seqs or []
            measured |= {f"state {name} {i} of every step": sequence for i, sequence in enumerate(sequences)}
        return measured

    compare(small_network, setting, forward=storing, measure=stored)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("split", ["whole", "chunks", "compressed", "selected"])
def test_memory_savers_of_spikingjelly_give_the_same(split: str, setting: str):
    def build(node: Factory, of: Setting) -> nn.Module:
        network = small_network(node, of)
        if split == "selected":
            example = torch.zeros(SHAPE, requires_grad=True)
            memopt.optimize_memory(network, neuron.BaseNode, lambda network: network(example), level=1)
            functional.reset_net(network)
            return network
        compressor = memopt.BitSpikeCompressor() if split == "compressed" else None
        for name in ("2", "6"):
            saver = memopt.checkpoint_module(network.get_submodule(name), chunks=2 if split == "chunks" else 1)
            network.set_submodule(name, saver)
        if compressor is not None:
            network.set_submodule("4", memopt.checkpoint_module(network[4], compressor=compressor))
        return network

    compare(build, setting, plain=small_network)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("counter", [op_counter.MACCounter, op_counter.SynOpCounter])
def test_counters_of_operations_between_neurons_agree(counter: type, setting: str):
    def counted(network: nn.Module, x: torch.Tensor, forward: Forward) -> dict[str, torch.Tensor]:
        count = counter()
        mode = op_counter.ModuleCounterMode if isinstance(count, op_counter.ModuleCounter) else None
        with torch.no_grad(), (mode or op_counter.DispatchCounterMode)([count]):
            forward(network, x)
        assert count.get_total() > 0
        return {"operations": torch.tensor(count.get_total())}

    compare(small_network, setting, measure=counted)


def test_what_the_contract_calls_theirs_is_spikingjellys():
    assert all(node.__module__.startswith("spikingjelly.") for node in THEIRS.values())
