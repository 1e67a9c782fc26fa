"""Firing rates by layer and step: those that evaluation counts, and silent and saturated neurons by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from messages import refuses

from pipeline.analysis.analysed_network import Analysed
from pipeline.analysis.analysis_options import RateOptions
from pipeline.analysis.rates import BINS, RateResult, _LayerCount, analyse_rates
from pipeline.runs.run_folder import open_run
from preprocess.errors import CacheError, ConfigError, RunError

Untrained = Callable[..., Analysed]


def test_rates_on_the_test_split_are_those_of_the_result(trained: Path):
    found, result = analyse_rates(trained, RateOptions(samples=1000)), open_run(trained).result
    assert result is not None and found.subject.samples == result["test_samples"]
    assert {layer.layer: layer.rate for layer in found.layers} == pytest.approx(result["firing_rates"])
    assert found.rate == pytest.approx(result["firing_rate"]) and found.sparsity == 1 - found.rate
    assert sum(found.by_step) / 5 == pytest.approx(found.rate)
    for layer in found.layers:
        assert sum(layer.by_step) / 5 == pytest.approx(layer.rate)
        assert sum(layer.histogram) == pytest.approx(1)
    assert RateResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_silent_and_saturated_neurons_by_hand():
    """Two samples and two steps: a neuron that never fires, one that always does, one that fires for one sample."""
    spikes = torch.zeros(2, 2, 3, dtype=torch.bool)
    spikes[:, :, 1] = True
    spikes[1, 0, 2] = True
    count = _LayerCount(3)
    count.add(spikes[:, :1], None)
    count.add(spikes[:, 1:], None)
    found = count.rates("layer", 0.9)
    assert (found.silent, found.saturated) == pytest.approx((1 / 3, 1 / 3))
    assert found.silent_in_sample == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert found.rate == pytest.approx(5 / 12) and found.by_step == pytest.approx((2 / 6, 3 / 6))
    assert [found.histogram[k] for k in (0, BINS // 4, BINS - 1)] == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_padding_does_not_count():
    spikes = torch.ones(3, 2, 4, dtype=torch.bool)
    count = _LayerCount(4)
    count.add(spikes, torch.tensor([[True, True], [True, False], [True, False]]))
    count.add(spikes[:1, :1], None)
    found = count.rates("layer", 0.9)
    assert found.rate == 1.0 and found.by_step == (1.0, 1.0, 1.0) and found.saturated == 1.0
    assert count.samples.tolist() == [3, 1, 1]


def test_samples_of_varying_length_are_analysed(untrained: Untrained):
    changes = {"binning__split_by": "duration", "binning__duration_us": 20_000}
    found = analyse_rates(untrained(**changes), RateOptions(samples=8))
    assert not found.subject.trained and found.subject.epoch is None
    assert all(0 <= rate <= 1 for layer in found.layers for rate in layer.by_step)


def test_any_neuron_has_rates(untrained: Untrained):
    assert analyse_rates(untrained(neuron__name="psn"), RateOptions(samples=4)).rate > 0


def test_a_missing_data_set_or_run_is_one_line(untrained: Untrained, tmp_path: Path):
    with refuses(CacheError, errors=1):
        analyse_rates(untrained(dataset__name="nowhere"))
    with refuses(RunError, expected="a run folder", errors=1):
        analyse_rates(tmp_path)
    with refuses(ConfigError, expected="a run folder or a preset", found="no-such-preset", errors=1):
        analyse_rates("no-such-preset")
    with refuses(ConfigError, where="--saturated-above", found="1.0", errors=1):
        RateOptions(saturated_above=1.0)
