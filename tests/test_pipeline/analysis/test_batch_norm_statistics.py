"""Batch norm in evaluation: statistics in closed form, PyTorch's averages, and networks in training mode by hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from messages import refuses
from torch import nn

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import BatchNormOptions
from pipeline.analysis.batch_norm_statistics import BatchNormResult, StepStatistics, analyse_batch_norm
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.networks import reset_network
from pipeline.runs.run_folder import open_run
from preprocess.errors import ConfigError

Untrained = Callable[..., Analysed]


def test_shift_and_scale_are_those_of_the_input_of_each_time_step():
    """A channel whose values are a +- b has mean a and standard deviation b."""
    means = torch.tensor([[0.5, -1.0], [2.0, 3.0], [0.0, 0.0]])
    deviations = torch.tensor([[1.0, 4.0], [0.5, 2.0], [3.0, 3.0]])
    signs = torch.tensor([1.0, -1.0]).repeat(8).view(1, 4, 1, 2, 2)
    statistics = StepStatistics()
    for batch in (1, 3):
        spread = (deviations[:, None, :, None, None] * signs)[:, :batch]
        statistics.add(means[:, None, :, None, None] + spread)
    norm = SequenceBatchNorm(2, "per-step")
    norm.eps = 0.0
    norm.running_mean[:] = torch.tensor([0.5, 1.0])
    norm.running_var[:] = torch.tensor([4.0, 16.0])
    found = statistics.layer("features.norm", norm)
    shifts = [np.hypot(0, 2 / 4) / 2**0.5, np.hypot(1.5 / 2, 2 / 4) / 2**0.5, np.hypot(0.5 / 2, 1 / 4) / 2**0.5]
    # The unbiased variances of 4 and of 12 values, weighted by the samples.
    unbiased = ((4 / 3 + 3 * 12 / 11) / 4) ** 0.5
    scales = [unbiased * each**0.5 for each in (1 / 2 * 4 / 4, 0.5 / 2 * 2 / 4, 3 / 2 * 3 / 4)]
    # Each update of the running mean leaves nine tenths of what was there.
    weights = np.array([0.81, 0.9, 1.0]) / 2.71
    left = weights @ means.numpy()
    assert found.lag == pytest.approx(np.hypot((left[0] - 0.5) / 2, (left[1] - 1) / 4) / 2**0.5)
    assert (found.layer, found.channels) == ("features.norm", 2)
    np.testing.assert_allclose(found.shift, shifts, rtol=1e-6)
    np.testing.assert_allclose(found.scale, scales, rtol=1e-6)


@pytest.mark.parametrize("mode", ["per-step", "joint"])
def test_averages_are_those_that_training_on_the_batch_for_ever_leaves(mode: Literal["per-step", "joint"]):
    step = torch.arange(1.0, 5.0)[:, None, None, None, None]
    x = torch.randn(4, 6, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * step + step
    ours, theirs = SequenceBatchNorm(3, mode), SequenceBatchNorm(3, mode)
    statistics = StepStatistics()
    statistics.add(x)
    statistics.replace_averages(ours)
    for _ in range(300):
        theirs(x)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    assert statistics.layer("", theirs).lag < 1e-6


def test_averages_of_batches_are_weighted_by_their_samples():
    batches = torch.randn(2, 12, 3, 1, 1, generator=torch.Generator().manual_seed(1)).double().split([5, 5, 2], 1)
    statistics = StepStatistics()
    for batch in batches:
        statistics.add(batch)
    found = statistics.averages(nn.BatchNorm2d(3))
    flat = [batch.flatten(0, 1).flatten(1) for batch in batches]
    torch.testing.assert_close(found[0], sum(len(batch) * batch.mean(0) for batch in flat) / 24)
    torch.testing.assert_close(found[1], sum(len(batch) * batch.var(0) for batch in flat) / 24)


@pytest.mark.parametrize("mode", ["per-step", "joint"])
def test_accuracies_are_those_of_networks_in_evaluation_and_in_training_mode(untrained: Untrained, mode: str):
    analysed = untrained(network__batch_norm=mode, batch_size=16)
    data = analysed.open_data()
    result = analyse_batch_norm(analysed, BatchNormOptions(samples=12, part="train", seed=3))
    order = np.random.default_rng(3).permutation(
        analysed.choose_samples(data, BatchNormOptions(samples=12, part="train", seed=3))
    )
    frames = torch.from_numpy(np.stack([data.frames.read(int(k)) for k in order], 1)).float()
    network, _ = analysed.load_network(data, torch.device("cpu"))
    labels = torch.from_numpy(data.frames.samples.label[order].astype(np.int64))
    found = []
    for training in (False, True):
        copied = copy.deepcopy(network).eval()
        for module in copied.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(training)
        with torch.no_grad():
            found.append(copied(frames).sum(0).argmax(1))
        reset_network(copied)
    assert [row.statistics for row in result.rows] == ["running", "batch", "estimated"]
    assert [row.correct for row in result.rows[:2]] == [int((each == labels).sum()) for each in found]
    assert [row.same for row in result.rows[:2]] == [12, int((found[0] == found[1]).sum())]
    assert (result.mode, result.batch, result.estimated_from) == (mode, 12, 12)
    # The averages are estimated from these very samples: jointly, they are the statistics of the one batch.
    assert mode == "per-step" or result.rows[2].same == result.rows[1].same
    assert all(len(layer.shift) == len(layer.scale) == 5 for layer in result.layers) and result.layers


def test_the_first_row_is_the_result_of_the_run_and_its_weights_stay(trained: Path):
    before, stored = (trained / "best.pt").read_bytes(), open_run(trained).result
    found = analyse_batch_norm(trained)
    assert stored is not None and (trained / "best.pt").read_bytes() == before
    assert (found.rows[0].correct, found.rows[0].accuracy) == (stored["correct"], stored["test_accuracy"])
    assert found.rows[0].same == found.subject.samples
    assert BatchNormResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_network_without_batch_norm_is_refused(untrained: Untrained, tmp_path: Path):
    code = (
        "from torch import nn\n"
        "class Plain(nn.Module):\n"
        "    def __init__(self, *, channels, classes, size, timesteps, make_neuron, **_):\n"
        "        super().__init__()\n"
        "        self.linear, self.neuron = nn.Linear(channels * size[0] * size[1], classes), make_neuron()\n"
        "    def forward(self, x):\n"
        "        return self.neuron(self.linear(x.flatten(2)))\n"
    )
    (tmp_path / "plain.py").write_text(code)
    analysed = open_analysed(untrained(network__name=f"{tmp_path / 'plain.py'}:Plain"))
    with refuses(ConfigError, expected="a network with batch norm", found="Plain"):
        analyse_batch_norm(analysed, BatchNormOptions(samples=2))


@pytest.mark.parametrize("sequences", [False, True])
def test_batch_norm_of_other_libraries_is_understood_and_layers_that_do_not_run_are_left_out(
    untrained: Untrained, tmp_path: Path, sequences: bool
):
    norm = "layer.BatchNorm2d(4, step_mode='m')" if sequences else "nn.BatchNorm2d(4)"
    call = "self.norm(x)" if sequences else "self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])"
    code = (
        "from torch import nn\n"
        "from spikingjelly.activation_based import layer\n"
        "class Own(nn.Module):\n"
        "    def __init__(self, *, channels, classes, size, timesteps, make_neuron, **_):\n"
        "        super().__init__()\n"
        "        self.conv, self.neuron = nn.Conv2d(channels, 4, 3, stride=4), make_neuron()\n"
        f"        self.norm, self.unused = {norm}, nn.BatchNorm2d(9)\n"
        "        self.linear = nn.LazyLinear(classes)\n"
        "    def forward(self, x):\n"
        "        x = self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2])\n"
        f"        return self.linear(self.neuron({call}).flatten(2))\n"
    ).replace("nn.LazyLinear(classes)", "nn.Linear(4 * ((size[0] + 1) // 4) * ((size[1] + 1) // 4), classes)")
    (tmp_path / "own.py").write_text(code)
    found = analyse_batch_norm(untrained(network__name=f"{tmp_path / 'own.py'}:Own"), BatchNormOptions(samples=8))
    assert [(layer.layer, layer.channels, len(layer.shift)) for layer in found.layers] == [
        ("norm", 4, 5 if sequences else 1)
    ]
    assert found.mode == "joint"


def test_the_cause_of_errors_is_named_only_beyond_chance_and_for_trained_weights(trained: Path):
    made = analyse_batch_norm(trained)

    def cause(running: int, batch: int, estimated: int, mode: str = "per-step") -> str | None:
        rows = [
            replace(row, correct=correct, low=correct / 100 - 0.05, high=correct / 100 + 0.05)
            for row, correct in zip(made.rows, (running, batch, estimated), strict=True)
        ]
        return replace(made, rows=tuple(rows), mode=mode).cause

    assert cause(70, 80, 70) is None and cause(90, 70, 90) is None
    assert cause(70, 95, 75) == "time-steps" and cause(70, 95, 75, "joint") == "samples"
    assert cause(70, 95, 90) == "time-steps" and cause(70, 95, 90, "joint") == "averages"
    assert replace(made, subject=replace(made.subject, trained=False)).cause is None
