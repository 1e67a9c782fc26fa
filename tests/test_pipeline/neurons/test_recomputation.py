"""Neurons under gradient checkpointing: never advanced twice, and right where states are handed on."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from spikingjelly.activation_based import base, functional, memopt
from torch import nn
from torch.utils.checkpoint import checkpoint

from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import make_neuron
from pipeline.neurons.recomputation import RecomputationError

KINDS = ("lif", "clif", "alif", "glif", "clif-undecayed", "ar-lif", "tc-lif", "lm-h")
T = 4


def make(kind: str, step_mode: str = "m") -> nn.Module:
    node = make_neuron(NeuronConfig(kind, timesteps=T))
    if step_mode != "m":
        node.step_mode = step_mode
    return node


def drawn() -> torch.Tensor:
    return torch.randn(T, 3, 5, generator=torch.Generator().manual_seed(0)) * 2


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize(
    ("kind", "step_mode"), [(kind, mode) for kind in KINDS for mode in "ms" if (kind, mode) != ("glif", "s")]
)
@pytest.mark.parametrize("between", ["nothing", "reset", "state set"])
def test_torchs_checkpoint_is_refused(kind: str, step_mode: str, use_reentrant: bool, between: str):
    network = nn.Sequential(nn.Linear(5, 5), make(kind, step_mode))
    y = checkpoint(network, drawn().requires_grad_(), use_reentrant=use_reentrant)
    if between == "reset":
        functional.reset_net(network)
    elif between == "state set":
        network[1].v = network[1].v.detach()
    expected = [copy.deepcopy(state) for state in base.memories(network)] if between == "reset" else None
    with pytest.raises(RecomputationError, match=r"Node: expected one forward pass for each .*checkpoint_module"):
        y.sum().backward()
    assert expected is None or list(base.memories(network)) == expected


def flat(kind: str) -> nn.Module:
    """SpikingJelly hands states to each layer."""
    return nn.Sequential(nn.Linear(5, 5), make(kind), nn.Linear(5, 5), make(kind))


def nested(kind: str) -> nn.Module:
    """SpikingJelly sets states before it runs the whole."""
    return nn.Sequential(nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(3)), nn.Sequential(make(kind), make(kind)))


@pytest.mark.parametrize("kind", ["lif", "clif", "alif"])
@pytest.mark.parametrize("build", [flat, nested])
@pytest.mark.parametrize("chunks", [1, 2])
def test_spikingjellys_checkpoint_module_gives_the_same_gradients_and_states(kind: str, build: object, chunks: int):
    torch.manual_seed(0)
    network = build(kind)
    checkpointed = memopt.checkpoint_module(copy.deepcopy(network), chunks=chunks)
    found = []
    for module in (network, checkpointed):
        x = (drawn() * 3).requires_grad_()
        parts = x.chunk(chunks) if module is network else [x]
        y = sum(torch.cat([module(part) for part in parts]) for _ in range(2))
        (y * x.detach()).sum().backward()
        found.append([y.detach(), x.grad, *(p.grad for p in module.parameters()), *base.memories(module)])
    assert found[0][1].any()
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_are_copied_and_pickled_with_their_states(kind: str):
    node = make(kind)
    with torch.no_grad():
        node(drawn())
    file = io.BytesIO()
    torch.save(node, file)
    file.seek(0)
    for other in (copy.deepcopy(node), torch.load(file, weights_only=False)):
        for ours, theirs in zip(node.memories(), other.memories(), strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpointed_function_that_begins_with_a_reset_gives_the_same_gradients(kind: str, use_reentrant: bool):
    network, found = nn.Sequential(nn.Linear(5, 5), make(kind)), []

    def run(x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(network)
        return network(x)

    for saves in (False, True):
        x = drawn().requires_grad_()
        y = checkpoint(run, x, use_reentrant=use_reentrant) if saves else run(x)
        (y * drawn()).sum().backward()
        found.append(x.grad)
    assert found[0].any() and torch.equal(*found)
