"""Sliding PSN, AR-LIF, TC-LIF and LM-H are their papers' equations, with the gradients of the chain rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from reference import neurons as reference
from spikingjelly.activation_based import neuron, surrogate
from torch.utils.checkpoint import checkpoint

from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import make_neuron
from pipeline.neurons.ar_lif import ARLIFNode
from pipeline.neurons.lm_h import LMHNode
from pipeline.neurons.recomputation import RecomputationError
from pipeline.neurons.sliding_psn import SlidingPSN
from pipeline.neurons.tc_lif import TCLIFNode

TAU, THRESHOLD, ALPHA = 1.7, 0.9, 1.4
NAMES = ("sliding-psn", "ar-lif", "tc-lif", "lm-h")


def drawn() -> tuple[np.ndarray, np.ndarray]:
    x, weights = np.random.default_rng(5).normal(0.4, 1.2, (2, 14, 1, 30))
    return x, weights


def make(name: str, kind: str) -> torch.nn.Module:
    """A neuron in float64, its parameters away from their initial values, where some gradients vanish."""
    config = NeuronConfig(name, tau=TAU, v_threshold=THRESHOLD, surrogate=kind, alpha=ALPHA)
    node = make_neuron(config).double()
    with torch.no_grad():
        for number, parameter in enumerate(node.parameters()):
            parameter.add_(
                torch.linspace(0.3, -0.2, parameter.numel(), dtype=torch.float64).view_as(parameter) + number
            )
    return node


def twin(node: torch.nn.Module, kind: str) -> Callable[[np.ndarray, np.ndarray], tuple[Any, ...]]:
    slope = reference.make_surrogate(kind, ALPHA)
    if isinstance(node, SlidingPSN):
        weight, bias = node.weight.detach().numpy(), node.bias.item()
        return lambda x, grad: reference.sliding_psn(x, grad, slope, weight, bias)
    if isinstance(node, ARLIFNode):
        a, c = node.a.item(), node.c.item()
        return lambda x, grad: reference.ar_lif(x, grad, TAU, THRESHOLD, slope, a, c)
    if isinstance(node, LMHNode):
        alpha, beta = tuple(node.alpha.tolist()), tuple(node.beta.tolist())
        return lambda x, grad: reference.lm_h(x, grad, THRESHOLD, slope, alpha, beta)
    assert isinstance(node, TCLIFNode)
    first, second = node.c.tolist()
    return lambda x, grad: reference.tc_lif(x, grad, THRESHOLD, slope, (first, second), 0.5)


@pytest.mark.parametrize("kind", ["rect", "triangle", "sigmoid", "atan"])
@pytest.mark.parametrize("name", NAMES)
def test_spikes_and_all_gradients_are_those_of_the_equations(name: str, kind: str):
    x, weights = drawn()
    node, inputs = make(name, kind), torch.from_numpy(x).requires_grad_()
    spikes = node(inputs)
    (spikes * torch.from_numpy(weights)).sum().backward()
    plain, of_parameters = twin(node, kind), 0.0
    for n in range(x.shape[2]):
        expected, gradient, found = plain(x[:, 0, n], weights[:, 0, n])
        np.testing.assert_array_equal(spikes[:, 0, n].detach(), expected)
        np.testing.assert_allclose(inputs.grad[:, 0, n], gradient, rtol=1e-10, atol=1e-12)
        of_parameters = of_parameters + np.array(found)
    found = torch.cat([parameter.grad.flatten() for parameter in node.parameters()])
    np.testing.assert_allclose(found, of_parameters, rtol=1e-10, atol=1e-12)
    assert 0.05 < spikes.mean() < 0.95 and found.abs().min() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_in_parts_or_single_steps_is_the_whole_one(name: str):
    x = torch.from_numpy(drawn()[0])
    whole = make(name, "rect")(x)
    node = make(name, "rect")
    assert torch.equal(torch.cat([node(x[:1]), node(x[1:6]), node(x[6:])]), whole)
    single = make(name, "rect")
    single.step_mode = "s"
    assert torch.equal(torch.stack([single(current) for current in x]), whole)


@pytest.mark.parametrize("name", NAMES)
def test_another_batch_size_starts_from_rest_and_16_bits_keep_states_of_32(name: str):
    x = torch.from_numpy(drawn()[0]).float()
    node = make_neuron(NeuronConfig(name))
    node(x)
    other = x.repeat(1, 2, 1).bfloat16()
    found = node(other)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found.float(), make_neuron(NeuronConfig(name))(other.float()))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_sliding_psn_is_spikingjellys_from_its_weights_on(k: int):
    x = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.5
    theirs = neuron.SlidingPSN(k, surrogate_function=surrogate.ATan(), step_mode="m")
    ours = SlidingPSN(k, surrogate.ATan(), "m")
    expected, found = theirs.state_dict(), ours.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    with torch.no_grad():
        theirs.weight.add_(0.1 * torch.arange(k))
    ours.load_state_dict(theirs.state_dict())
    results = []
    for node in (theirs.double(), ours.double()):
        inputs = x.clone().requires_grad_()
        spikes = node(inputs)
        (spikes * x.flip(0)).sum().backward()
        results.append([inputs.grad, node.weight.grad, node.bias.grad])
        results[-1].insert(0, spikes.detach())
    assert torch.equal(results[0][0], results[1][0])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)
    # SpikingJelly's single steps keep the last inputs, as ours do in both modes.
    theirs.step_mode = "s"
    theirs.reset()
    ours.reset()
    stepped = torch.stack([theirs(current) for current in x])
    assert torch.equal(torch.cat([ours(x[:3]), ours(x[3:])]), stepped)


def test_sliding_psn_refuses_to_run_again_inside_backward():
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), SlidingPSN(step_mode="m"))
    y = checkpoint(network, torch.randn(3, 2, 4).requires_grad_(), use_reentrant=False)
    with pytest.raises(RecomputationError, match="SlidingPSN: expected one forward pass"):
        y.sum().backward()


def test_neurons_begin_as_in_their_authors_code():
    assert make_neuron(NeuronConfig("tc-lif")).c.tolist() == [0.0, 0.0]
    ar_lif = make_neuron(NeuronConfig("ar-lif"))
    assert (ar_lif.a.item(), ar_lif.c.item(), ar_lif.tau) == (0.0, 1.0, 2.0)
    lm_h = make_neuron(NeuronConfig("lm-h", v_threshold=3.0))
    assert [*lm_h.alpha.tolist(), *lm_h.beta.tolist(), lm_h.v, lm_h.d] == [0.0] * 4 + [1.5, 0.0]


def test_lm_h_begins_as_an_if_neuron_from_half_the_threshold_without_gradient_through_the_reset():
    x = torch.from_numpy(drawn()[0])
    found = []
    for node in (make_neuron(NeuronConfig("lm-h")), neuron.IFNode(1.0, None, surrogate.Rect(1.0), True, "m")):
        node.v = 0.5
        inputs = x.clone().requires_grad_()
        spikes = node(inputs)
        (spikes * x.flip(0)).sum().backward()
        found.append((spikes, inputs.grad))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-12, atol=1e-13)
