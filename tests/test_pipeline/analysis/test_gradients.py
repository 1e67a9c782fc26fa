"""Gradients of networks: their parts sum to autograd's, zeros and reach are counted, other neurons are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from messages import refuses

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import GradientOptions
from pipeline.analysis.gradient_split import NO_WINDOW
from pipeline.analysis.gradient_sums import LayerSums
from pipeline.analysis.gradients import COMPARED, GradientResult, analyse_gradients
from pipeline.analysis.neuron_equations import DEFINED, LEARNT, equations_of
from pipeline.config.run_config import NeuronConfig
from pipeline.neurons import make_neuron
from preprocess.errors import ConfigError, RunError

Untrained = Callable[..., Analysed]
FEW = GradientOptions(samples=6)


@pytest.mark.parametrize("name", [*DEFINED, *LEARNT])
def test_parts_sum_to_the_gradient_in_a_network_of_each_neuron(untrained: Untrained, name: str):
    found = analyse_gradients(untrained(neuron__name=name), FEW)
    assert len(found.layers) == 3 and found.residual < 1e-6
    for layer in found.layers:
        assert [part.distance for part in layer.by_source] == list(range(5))
        assert layer.gradient > 0 and layer.spatial == layer.by_source[0].total == layer.of_paper[0].total
        assert layer.reach[0].neuron == name and {reach.neuron for reach in layer.reach} == {name, *COMPARED}
        assert (layer.printed_difference is not None) == (name in ("clif", "clif-undecayed"))


@pytest.mark.parametrize(
    "changes",
    [
        {"network__name": "sew-resnet18", "network__width": 0.03},
        {"network__name": "ms-resnet18", "network__width": 0.03, "network__batch_norm": "joint"},
        {"network__name": "vggsnn", "network__width": 0.03, "network__dropout": 0.3},
        pytest.param(
            {"network__name": "spikformer", "network__width": 0.02, "input__size": 32},
            marks=pytest.mark.slow,
            id="spikformer",
        ),
        {"network__name": "fc-snn", "network__width": 0.1},
        {"grad_steps": 3, "loss__label_smoothing": 0.1},
        {"neuron__temporal_window": 1},
        {"neuron__temporal_window": 0, "neuron__truncation": "sliding"},
        {"neuron__temporal_window": 2, "neuron__truncation": "sliding"},
        {"loss__last_steps": 1, "neuron__surrogate": "triangle", "neuron__tau": 4.0},
        {"binning__split_by": "duration", "binning__duration_us": 20_000},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_parts_sum_to_the_gradient_whatever_the_network_and_loss(untrained: Untrained, changes: dict[str, object]):
    found = analyse_gradients(untrained(neuron__name="clif", **changes), FEW)
    assert found.residual < 1e-5
    assert found.timesteps == changes.get("grad_steps", found.subject.timesteps)
    assert max(layer.gradient for layer in found.layers) > 0


def test_a_run_is_analysed_at_its_selected_weights_on_its_own_samples(trained: Path):
    found = analyse_gradients(trained, GradientOptions(samples=1000))
    assert found.subject.trained and found.subject.epoch == 1 and found.subject.part == "train"
    assert found.subject.samples == 18, "the training samples without those held out for validation"
    assert found.residual < 1e-6
    again = analyse_gradients(open_analysed(trained), GradientOptions(samples=1000))
    assert again == found, "equal inputs have equal results"
    assert GradientResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_dropout_and_samples_are_drawn_by_the_seed(untrained: Untrained):
    analysed = untrained(network__dropout=0.5)
    first, same, other = (analyse_gradients(analysed, replace(FEW, seed=seed)) for seed in (1, 1, 2))
    assert first == same and first.loss != other.loss


def counted(name: str, x: list[list[float]], of_spikes: list[list[float]]) -> LayerSums:
    """Sums of a layer of neurons (T, neurons) for one sample with these input currents and gradients."""
    node = make_neuron(NeuronConfig(name))
    equations = equations_of(node, "")
    current = torch.tensor(x)[:, None].requires_grad_()
    grad = torch.tensor(of_spikes)[:, None]
    node(current).backward(grad)
    assert current.grad is not None
    sums = LayerSums("layer", node, equations, {name: equations}, NO_WINDOW)
    sums.add(current.detach(), grad, current.grad, None)
    return sums


def test_exact_zeros_are_counted_and_told_apart():
    """Three LIF neurons at tau 2 and two steps: cut at 0.8; not cut at 0.2; without a later gradient, as u[2] = 1.6."""
    found = counted("lif", [[0.8, 0.2, 0.2], [1.0, 1.0, 1.5]], [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]).result()
    assert (found.zero_temporal, found.zero_cut, found.zero_neurons) == pytest.approx((2 / 3, 1 / 3, 2 / 3))
    assert found.by_source[1].total == pytest.approx((0.5**2 / 3) ** 0.5)
    assert found.temporal == pytest.approx((0.5**2 / 6) ** 0.5)
    assert found.reach[0].mean == pytest.approx((3 / 6, 0.5 / 3))
    assert found.reach[0].nonzero == pytest.approx((3 / 6, 1 / 3))


def test_padding_does_not_count():
    node = make_neuron(NeuronConfig("lif"))
    equations = equations_of(node, "")
    x = torch.rand(4, 2, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    grad = torch.rand(4, 2, 5, generator=torch.Generator().manual_seed(1))
    grad[2:, 1] = 0
    node(x).backward(grad)
    assert x.grad is not None
    mask = torch.tensor([[True, True], [True, True], [True, False], [True, False]])
    both, shorter = (LayerSums("", node, equations, {"lif": equations}, NO_WINDOW) for _ in range(2))
    both.add(x.detach(), grad, x.grad, mask)
    shorter.add(x.detach()[:, :1], grad[:, :1], x.grad[:, :1], None)
    shorter.add(x.detach()[:2, 1:], grad[:2, 1:], x.grad[:2, 1:], None)
    ours, theirs = both.result(), shorter.result()
    assert ours.zero_temporal == theirs.zero_temporal and ours.zero_neurons == theirs.zero_neurons
    assert [part.total for part in ours.by_source] == pytest.approx([part.total for part in theirs.by_source])
    assert ours.reach[0].mean == pytest.approx(theirs.reach[0].mean)
    assert ours.gradient == pytest.approx(theirs.gradient)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"neuron__name": "psn"}, "PSN, which keeps no potential"),
        ({"neuron__name": "alif"}, "AdaptiveLIFNode"),
        ({"neuron__name": "relu"}, "ReLU, which does not spike"),
        ({"network__name": "rsnn", "network__width": 0.1}, "RecurrentNeuron, whose spikes reach"),
    ],
)
def test_neurons_without_known_equations_are_refused_in_one_line(
    untrained: Untrained, changes: dict[str, str], found: str
):
    with refuses(ConfigError, where="layer", expected="lif, clif", found=found, remedy="Analyse", errors=1):
        analyse_gradients(untrained(**changes), FEW)


@pytest.mark.parametrize("name", ["lif", "clif"])
def test_a_sliding_window_limits_the_distance_of_parts_and_reach(untrained: Untrained, name: str):
    analysed = untrained(neuron__name=name, neuron__temporal_window=2, neuron__truncation="sliding")
    found = analyse_gradients(analysed, FEW)
    for layer in found.layers:
        for parts in (layer.by_source, layer.of_paper):
            assert [part.total > 0 for part in parts] == [True, True, True, False, False]
        assert all(reach.mean[2] > 0 == reach.mean[3] for reach in layer.reach)
        assert layer.printed_difference is None, "the paper has no equations for it"


def test_learnt_constants_are_those_of_the_layer_and_its_time_constant_is_that_of_the_compared(untrained: Untrained):
    analysed = untrained(neuron__name="plif", neuron__tau=3.0)
    plain, other = analyse_gradients(analysed, FEW), analyse_gradients(untrained(neuron__name="plif"), FEW)
    for layer, of_two in zip(plain.layers, other.layers, strict=True):
        own, lif = layer.reach[0], next(reach for reach in layer.reach if reach.neuron == "lif")
        assert own.mean == pytest.approx(lif.mean), "before training, PLIF is LIF"
        assert own.mean[2] > of_two.reach[0].mean[2]


@pytest.mark.parametrize("changes", [{"binning__timesteps": 1}, {"grad_steps": 1}], ids=str)
def test_one_time_step_has_no_temporal_gradient(untrained: Untrained, changes: dict[str, int]):
    with refuses(ConfigError, expected="at least 2 time steps", found="1", errors=1):
        analyse_gradients(untrained(**changes), FEW)


def test_a_run_without_weights_is_refused(trained: Path, tmp_path: Path):
    for path in ("config.json", "environment.json"):
        (tmp_path / path).write_bytes((trained / path).read_bytes())
    with refuses(RunError, expected="best.pt", found="none", remedy="spikeloom train --resume", errors=1):
        analyse_gradients(tmp_path, FEW)
