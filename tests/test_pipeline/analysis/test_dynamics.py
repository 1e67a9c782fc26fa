"""Dynamics of single neurons against closed forms: intervals, rate over input, autocorrelation; and a layer's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from messages import refuses

from pipeline.analysis.analysed_network import Analysed
from pipeline.analysis.analysis_options import DynamicsOptions, RateOptions
from pipeline.analysis.dynamics import DynamicsResult, NeuronDynamics, analyse_dynamics
from pipeline.analysis.input_currents import poisson_current
from pipeline.analysis.rates import analyse_rates
from pipeline.analysis.spike_statistics import Intervals, autocorrelation, autocovariance, spike_intervals
from preprocess.errors import ConfigError, RunError

Untrained = Callable[..., Analysed]


def only(result: DynamicsResult) -> NeuronDynamics:
    (neuron,) = result.neurons
    return neuron


@pytest.mark.parametrize("tau", [1.5, 2.0, 5.0, 20.0])
@pytest.mark.parametrize("current", [0.3, 0.55, 0.8, 1.2])
def test_intervals_of_lif_with_a_constant_current_and_a_hard_reset(untrained: Untrained, tau: float, current: float):
    """u after k steps from 0 is x tau (1 - gamma^k), so that the interval is log(1 - 1 / (x tau)) / log(gamma)."""
    analysed = untrained(neuron__reset="hard", neuron__tau=tau)
    options = DynamicsOptions(neurons=("lif",), input="constant", amplitude=current, steps=400)
    found = only(analyse_dynamics(analysed, options))
    if current * tau <= 1:
        assert found.rate == 0 and found.intervals == Intervals((), None, None)
        return
    interval = math.ceil(math.log(1 - 1 / (current * tau)) / math.log(1 - 1 / tau))
    assert found.intervals.mean == interval and found.intervals.variation == 0
    assert found.spikes.index(1) + 1 == interval


def test_lif_with_a_soft_reset_fires_as_its_mean_potential_says(untrained: Untrained):
    """The mean of v[t] = (1 - 1/tau) v[t-1] + x - v_th s[t] over a long time is rate = x - mean(v) / tau."""
    options = DynamicsOptions(neurons=("lif",), input="constant", amplitude=0.83, steps=5000)
    found = only(analyse_dynamics(untrained(), options))
    v = np.array(found.u) - np.array(found.spikes)
    assert found.rate == pytest.approx(0.83 - v.mean() / 2, abs=4e-4)
    assert found.intervals.mean == pytest.approx(1 / found.rate, rel=1e-3)


def test_clif_with_a_constant_current_by_hand(untrained: Untrained):
    """tau 2, x = 1.2: u[1] = 1.2 fires, m[1] = 1, v = 0.2 - sigma(1); u[2] = 1.2 + v / 2; m[2] = sigma(u[2] / 2)."""
    options = DynamicsOptions(neurons=("clif",), input="constant", amplitude=1.2, steps=2)
    found = only(analyse_dynamics(untrained(), options))

    def sigmoid(z: float) -> float:
        return 1 / (1 + math.exp(-z))

    second = 1.2 + (0.2 - sigmoid(1)) / 2
    assert found.m is not None and second < 1
    assert found.u == pytest.approx((1.2, second)) and found.spikes == (1, 0)
    assert found.m == pytest.approx((1.0, sigmoid(second / 2)))


def test_rate_over_constant_input_starts_at_threshold_over_tau_and_ends_at_one(untrained: Untrained):
    found = analyse_dynamics(untrained(neuron__tau=4.0), DynamicsOptions(neurons=("lif", "clif"), input="constant"))
    for neuron in found.neurons:
        (curve,) = neuron.curves
        inputs, rates = np.array(curve.inputs), np.array(curve.rates)
        assert curve.kind == "constant" and (rates[inputs <= 1 / 4] == 0).all() and (rates[inputs > 0.26] > 0).all()
        assert (np.diff(rates) >= 0).all()
    lif, clif = (np.array(neuron.curves[0].rates) for neuron in found.neurons)
    assert lif[-1] == 1.0 and (clif <= lif).all() and clif[-1] < 1.0


def test_poisson_input_has_its_rate_and_is_drawn_by_the_seed(untrained: Untrained):
    current = poisson_current(500, 200, 0.7, 0.5, seed=3)
    counts = current / 0.5
    assert torch.equal(counts, counts.round())
    assert float(counts.mean()) == pytest.approx(0.7, abs=0.01) and float(counts.var()) == pytest.approx(0.7, abs=0.02)
    first, same, other = (
        analyse_dynamics(untrained(), DynamicsOptions(steps=60, lags=10, seed=seed, amplitude=1.0))
        for seed in (1, 1, 2)
    )
    assert first == same and first.current != other.current
    assert [neuron.neuron for neuron in first.neurons] == ["lif", "clif"]
    assert [curve.kind for curve in first.neurons[0].curves] == ["constant", "poisson"]
    assert DynamicsResult.from_json(json.loads(json.dumps(first.to_json()))) == first


def test_intervals_are_those_within_each_neuron():
    spikes = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0]])
    found = spike_intervals(spikes)
    assert found.counts == (1, 2) and found.mean == pytest.approx(5 / 3)
    assert found.variation == pytest.approx(np.std([2, 2, 1]) / (5 / 3))


def test_autocorrelation_of_a_periodic_signal():
    """Spikes at every third of 12 steps: R[k] is the number of pairs k apart over 12."""
    signal = torch.tensor([1.0, 0, 0] * 4, dtype=torch.float64)[:, None]
    assert autocorrelation(signal, 6).tolist() == pytest.approx([4 / 12, 0, 0, 3 / 12, 0, 0, 2 / 12])
    covariance = autocovariance(signal, 6)
    assert covariance is not None
    assert covariance[[0, 3, 6]].tolist() == pytest.approx([1, 1, 1]) and covariance[1] < 0
    assert autocovariance(torch.full((12, 2), 0.3, dtype=torch.float64), 3) is None


def test_autocovariance_of_a_decay_is_its_factor():
    """u of LIF below threshold, driven by noise, is autoregressive: its correlation at lag k is (1 - 1/tau)^k."""
    noise = torch.randn(4000, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = torch.zeros_like(noise)
    for t in range(1, len(noise)):
        u[t] = 0.75 * u[t - 1] + noise[t]
    found = autocovariance(u[100:], 4)
    assert found is not None
    assert found.tolist() == pytest.approx([0.75**k for k in range(5)], abs=0.02)


@pytest.mark.parametrize(("name", "write"), [("current.npy", np.save), ("current.txt", np.savetxt)])
def test_a_given_current_is_read_from_a_file(
    untrained: Untrained, tmp_path: Path, name: str, write: Callable[..., None]
):
    path = tmp_path / name
    write(path, np.array([0.4, 1.5, 0.9]))
    found = only(analyse_dynamics(untrained(), DynamicsOptions(neurons=("lif",), input=str(path), lags=2)))
    assert found.u == pytest.approx((0.4, 1.7, 1.25)) and found.spikes == (0, 1, 1)


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [1.0], [1.0, math.nan]])
def test_a_file_without_a_current_is_refused(untrained: Untrained, tmp_path: Path, values: list[float]):
    np.save(tmp_path / "bad.npy", np.array(values))
    with refuses(ConfigError, where="--input", found="shape", errors=1):
        analyse_dynamics(untrained(), DynamicsOptions(input=str(tmp_path / "bad.npy")))
    with refuses(ConfigError, where="--input", errors=1):
        analyse_dynamics(untrained(), DynamicsOptions(input=str(tmp_path / "none.txt")))


def test_a_layer_fires_as_its_network_does(trained: Path):
    options = DynamicsOptions(neurons=("clif", "lif"), layer="features.conv2", samples=24)
    found = analyse_dynamics(trained, options)
    rates = {layer.layer: layer.rate for layer in analyse_rates(trained, RateOptions(samples=24)).layers}
    assert found.inputs == 24 * 5 * 8 * 8 and found.steps == 5
    assert found.neurons[0].rate == pytest.approx(rates["features.conv2.neuron"], abs=1e-3)
    assert any(found.neurons[0].spikes) and found.neurons[0].curves[0].kind == "layer"
    assert found.subject.samples == 24 and found.subject.epoch == 1


def test_a_layer_needs_weights_and_an_existing_name(trained: Path, tmp_path: Path):
    with refuses(ConfigError, where="--layer", expected="features.conv1, features.conv2", found="conv9", errors=1):
        analyse_dynamics(trained, DynamicsOptions(layer="conv9"))
    for path in ("config.json", "environment.json"):
        (tmp_path / path).write_bytes((trained / path).read_bytes())
    with refuses(RunError, expected="best.pt", errors=1):
        analyse_dynamics(tmp_path, DynamicsOptions(layer="features.conv2"))
    found = analyse_dynamics(tmp_path, DynamicsOptions(steps=20, input="constant"))
    assert [neuron.neuron for neuron in found.neurons] == ["lif", "clif"], "the run's own is among them"


@pytest.mark.parametrize("name", ["psn", "nothing"])
def test_a_neuron_without_known_equations_is_refused(untrained: Untrained, name: str):
    with refuses(ConfigError, where=f"neuron {name}", expected="lif, clif", errors=1):
        analyse_dynamics(untrained(), DynamicsOptions(neurons=("lif", name)))


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"tau": 1.0}, "--tau"),
        ({"tau": math.inf}, "--tau"),
        ({"steps": 1}, "--steps"),
        ({"steps": 10**6}, "--steps"),
        ({"amplitude": math.nan}, "--amplitude"),
        ({"rate": -1.0}, "--rate"),
        ({"lags": 0}, "--lags"),
        ({"samples": 0}, "--samples"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_options_out_of_range_are_refused(values: dict[str, float], where: str):
    with refuses(ConfigError, where=where, found=str(next(iter(values.values()))), errors=1):
        DynamicsOptions(**values)  # type: ignore[arg-type]
