"""Answers that are read late: loss, prediction and curves are of the last steps alone, rates and energy of all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import LossConfig, RunConfig, fingerprint, override
from pipeline.data.loader import FrameLoader
from pipeline.data.padding import step_mask
from pipeline.data.run_data import open_data
from pipeline.evaluation.accuracy_over_time import correct_by_step
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.losses import answer_mask, predict, spiking_loss
from pipeline.evaluation.other_timesteps import refuse_timesteps
from pipeline.networks import build_network
from pipeline.training.train_run import train_run
from preprocess.errors import ConfigError
from tune.search.random_and_grid import sample_space
from tune.space.named_spaces import NAMED_SPACES
from tune.space.space import parse_space

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("late"))


def made_up() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    logits = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(3))
    return logits, torch.tensor([0, 3, 1, 1, 2]), torch.tensor([6, 1, 3, 5, 2])


@pytest.mark.parametrize("words", [{}, {"mse_weight": 0.3, "mse_target": "one-hot", "label_smoothing": 0.1}], ids=str)
def test_loss_and_prediction_are_those_of_the_last_steps_by_themselves(words: dict[str, Any]):
    logits, labels, _ = made_up()
    late, whole = LossConfig(last_steps=2, **words), LossConfig(**words)
    torch.testing.assert_close(spiking_loss(logits, labels, late), spiking_loss(logits[-2:], labels, whole))
    assert not torch.isclose(spiking_loss(logits, labels, late), spiking_loss(logits, labels, whole))
    assert torch.equal(predict(logits, answer_mask(None, logits, 2)), predict(logits[-2:]))
    assert not torch.equal(predict(logits), predict(logits[-2:]))


def test_where_t_varies_each_samples_own_last_steps_count():
    logits, labels, lengths = made_up()
    mask = step_mask(lengths, 6)
    parts = [logits[max(0, n - 2) : n, b : b + 1] for b, n in enumerate(lengths.tolist())]
    alone = [spiking_loss(part, labels[b : b + 1], LossConfig()) for b, part in enumerate(parts)]
    torch.testing.assert_close(spiking_loss(logits, labels, LossConfig(last_steps=2), mask), torch.stack(alone).mean())
    expected = [int(predict(part)) for part in parts]
    assert predict(logits, answer_mask(mask, logits, 2)).tolist() == expected != predict(logits, mask).tolist()


def test_gradient_reaches_no_earlier_output():
    logits, labels, _ = made_up()
    logits.requires_grad_()
    spiking_loss(logits, labels, LossConfig(last_steps=2)).backward()
    assert logits.grad is not None
    assert not logits.grad[:4].any() and logits.grad[4:].any()


def test_no_sample_is_right_before_its_answer_is_read():
    # Sums of nothing would name class 0.
    logits, labels = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(3, dtype=torch.int64)
    counted = answer_mask(None, logits, 2)
    found = correct_by_step(logits, labels, counted)
    assert found[:3].tolist() == [0, 0, 0]
    assert found[3] == (predict(logits[3:4]) == labels).sum() and found[4] == (predict(logits[3:]) == labels).sum()


def test_evaluation_reads_the_last_steps_and_counts_spikes_of_all(cache: Path):
    data = open_data(TINY, cache)
    network = build_network(TINY.network, TINY.neuron, channels=2, classes=3, size=(16, 16), timesteps=3, seed=1)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.data += 0.5

    def found(last_steps: int | None):
        loader = FrameLoader(data.frames, data.splits.test, 8, TINY.input, CPU)
        return evaluate(network, loader, LossConfig(last_steps=last_steps))

    whole, late, all_three = found(None), found(1), found(3)
    assert late.firing_rates == whole.firing_rates and late.firing_rate == whole.firing_rate > 0
    assert late.loss != whole.loss and not np.allclose(late.logits, whole.logits)
    np.testing.assert_allclose(all_three.logits, whole.logits, rtol=1e-6)
    curve = late.latency_curve()
    assert curve is not None and curve[:2] == [0.0, 0.0] and curve[2] == late.accuracy


def test_a_run_trains_and_is_tested_by_its_last_steps(cache: Path, tmp_path: Path):
    late = override(TINY, {"loss.last_steps": 1, "schedule.epochs": 1})
    results = {
        name: train_run(config, tmp_path / name, cache)
        for name, config in {"late": late, "whole": override(late, {"loss.last_steps": None})}.items()
    }
    assert results["late"]["test_loss"] != results["whole"]["test_loss"]
    assert results["late"]["latency_curve"][:2] == [0.0, 0.0]
    assert results["late"]["latency_curve"][2] == results["late"]["test_accuracy"]


def test_last_steps_are_in_the_fingerprint_only_where_they_leave_steps_out():
    whole = fingerprint(TINY)
    assert fingerprint(override(TINY, {"loss.last_steps": 3})) == whole
    assert fingerprint(override(TINY, {"loss.last_steps": 2})) != whole
    # Where T varies, none of the samples need have three steps.
    varies = override(TINY, {"binning.split_by": "duration", "binning.duration_us": 100})
    assert fingerprint(override(varies, {"loss.last_steps": 3})) != fingerprint(varies)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.last_steps": 0}, "loss.last_steps: expected at least 1, found 0"),
        ({"loss.last_steps": 4}, "loss.last_steps: expected 1 to binning.timesteps = 3, found 4"),
        (
            {"loss.last_steps": 2, "grad_steps": 2},
            "loss.last_steps: expected no grad_steps together with it, found grad_steps 2, which uses only the first "
            "outputs. Set only one of them",
        ),
    ],
)
def test_last_steps_that_make_no_sense_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as error:
        override(TINY, changes)
    assert error.value.errors == (message,)


def test_gradient_of_all_steps_goes_with_last_steps():
    assert override(TINY, {"loss.last_steps": 2, "grad_steps": 3}).loss.last_steps == 2


def test_another_t_is_refused_where_the_answer_is_read_late():
    config = override(TINY, {"loss.last_steps": 2})
    with pytest.raises(
        ConfigError, match=r"--timesteps: expected a run that predicts from all time steps, .*last_steps 2"
    ):
        refuse_timesteps(config, [6])
    refuse_timesteps(config, [])
    refuse_timesteps(replace(config, loss=LossConfig()), [6])


@pytest.mark.parametrize("name", NAMED_SPACES)
def test_named_spaces_suit_answers_that_are_read_late(name: str):
    config = override(RunConfig(), {"loss.last_steps": 4})
    space = parse_space([name], config)
    assert "grad_steps" not in space.fields
    assert all(override(config, point) for point in sample_space(space, config, 20, seed=1))
