"""Batch norm in evaluation: statistics in closed form, PyTorch's averages, and networks in training mode by hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

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
    scales = [(1 / 2 * 4 / 4) ** 0.5, (0.5 / 2 * 2 / 4) ** 0.5, (3 / 2 * 3 / 4) ** 0.5]
    # All time steps together have means 2.5 / 3 and 2 / 3.
    assert found.lag == pytest.approx(np.hypot((2.5 / 3 - 0.5) / 2, (2 / 3 - 1) / 4) / 2**0.5)
    assert (found.layer, found.channels) == ("features.norm", 2)
    np.testing.assert_allclose(found.shift, shifts, rtol=1e-6)
    np.testing.assert_allclose(found.scale, scales, rtol=1e-6)


def test_averages_of_one_batch_are_those_that_training_with_a_momentum_of_one_leaves():
    step = torch.arange(1.0, 5.0)[:, None, None, None, None]
    x = torch.randn(4, 6, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * step + step
    statistics = StepStatistics()
    statistics.add(x)
    joint, theirs = SequenceBatchNorm(3, "joint"), nn.BatchNorm2d(3, momentum=1.0)
    statistics.replace_averages(joint)
    theirs(x.flatten(0, 1))
    torch.testing.assert_close(joint.running_mean, theirs.running_mean)
    torch.testing.assert_close(joint.running_var, theirs.running_var)
    # Of each step separately, then averaged; no momentum: the cumulative average.
    per_step, theirs = SequenceBatchNorm(3, "per-step"), nn.BatchNorm2d(3, momentum=None)
    statistics.replace_averages(per_step)
    for step in x:
        theirs(step)
    torch.testing.assert_close(per_step.running_mean, theirs.running_mean)
    torch.testing.assert_close(per_step.running_var, theirs.running_var)
    assert (joint.running_var > per_step.running_var).all()


def test_averages_of_several_batches_are_those_of_all_samples_at_once():
    x = torch.randn(2, 10, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    whole, parts = StepStatistics(), StepStatistics()
    whole.add(x)
    for part in x.split(5, 1):
        parts.add(part)
    for ours, expected in zip(parts.moments(), whole.moments(), strict=True):
        torch.testing.assert_close(ours, expected)


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
