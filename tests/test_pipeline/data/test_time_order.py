"""Controls over the order of time: the same frames in another order, or one of them, on every split alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import InputConfig, TimeOrder, fingerprint, override
from pipeline.data.dataset import FrameDataset
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import RunData, open_data
from pipeline.data.time_order import reorder_steps
from pipeline.evaluation.finished_run import evaluate_test, load_selected
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess.binning.binning_config import Binning
from preprocess.errors import ConfigError

CPU = torch.device("cpu")
LENGTHS = torch.tensor([6, 1, 4])
SAMPLES = np.array([5, 2, 9])


def counts(steps: int = 6, batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 250, (steps, batch, 2, 4, 5), dtype=torch.uint8, generator=generator)


def padded() -> torch.Tensor:
    frames = counts()
    for b, length in enumerate(LENGTHS):
        frames[length:, b] = 0
    return frames


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("order"))


@pytest.fixture(scope="module")
def data(cache: Path) -> RunData:
    return open_data(TINY, cache)


def loaded(data: RunData, order: TimeOrder, *, train: bool, seed: int = 3, epoch: int = 1) -> torch.Tensor:
    """All frames of a split, in the order of the samples' numbers."""
    indices = data.splits.train if train else data.splits.test
    loader = FrameLoader(
        data.frames,
        indices,
        len(indices),
        InputConfig(time_order=order),
        CPU,
        seed=seed,
        training=train,
    )
    (batch,) = loader.batches(epoch)
    (sequence,) = loader._plan(epoch)
    return batch.frames[:, torch.from_numpy(np.argsort(sequence))]


def test_reversed_runs_each_sample_backwards_and_leaves_its_padding_behind():
    frames = padded()
    found = reorder_steps("reversed", None, None)(frames, SAMPLES, LENGTHS)
    for b, length in enumerate(LENGTHS):
        assert torch.equal(found[:length, b], frames[:length, b].flip(0))
        assert not found[length:, b].any()
    assert torch.equal(reorder_steps("reversed", None, None)(frames, SAMPLES, None), frames.flip(0))


def test_shuffled_has_every_step_once_and_leaves_padding_behind():
    frames = padded()
    found = reorder_steps("shuffled", 1, 1)(frames, SAMPLES, LENGTHS)
    assert found.dtype == torch.uint8 and not torch.equal(found, frames)
    for b, length in enumerate(LENGTHS):
        sums = [sorted(f[:length, b].flatten(1).sum(1).tolist()) for f in (found, frames)]
        assert sums[0] == sums[1] and not found[length:, b].any()


def test_shuffled_draws_by_seed_epoch_and_sample_alone():
    frames = counts(12, 1).expand(12, 3, 2, 4, 5)

    def draw(seed: int, epoch: int | None, samples: list[int]) -> torch.Tensor:
        return reorder_steps("shuffled", seed, epoch)(frames[:, : len(samples)], np.array(samples), None)

    first = draw(1, 1, [4, 7])
    assert torch.equal(first, draw(1, 1, [4, 7])) and torch.equal(first[:, 1], draw(1, 1, [7])[:, 0])
    others = [draw(1, 2, [4]), draw(2, 1, [4]), draw(1, 1, [5]), draw(1, None, [4])]
    assert all(not torch.equal(first[:, 0], other[:, 0]) for other in others)


def test_one_frame_keeps_the_fullest_where_it_is_and_empties_the_others():
    frames = counts()
    frames[:, 1] = 0
    frames[2:4, 1, 0, 0, 0] = 200
    found = reorder_steps("one-frame", None, None)(frames, SAMPLES, None)
    fullest = frames.flatten(2).long().sum(2).numpy().argmax(0)
    assert fullest[1] == 2
    for b, t in enumerate(fullest):
        assert torch.equal(found[t, b], frames[t, b]) and found[:, b].long().sum() == frames[t, b].long().sum()


@pytest.mark.parametrize("order", ["shuffled", "reversed", "one-frame"])
def test_input_is_left_as_it_was(order: TimeOrder):
    frames = counts()
    before = frames.clone()
    assert not torch.equal(reorder_steps(order, 1, 1)(frames, SAMPLES, None), before)
    assert torch.equal(frames, before)


def test_shuffling_without_a_seed_is_refused():
    with pytest.raises(ValueError, match="expected a seed for time_order shuffled, found none"):
        reorder_steps("shuffled", None, None)


@pytest.mark.parametrize("train", [True, False], ids=["training", "test"])
@pytest.mark.parametrize("order", ["shuffled", "reversed", "one-frame"])
def test_loaders_change_the_order_on_every_split(data: RunData, order: TimeOrder, train: bool):
    plain, found = loaded(data, "as-is", train=train), loaded(data, order, train=train)
    assert not torch.equal(plain, found)
    if order == "reversed":
        assert torch.equal(found, plain.flip(0))
    if order == "shuffled":
        # Not the same for all samples.
        moved = (plain[0] == found[0]).flatten(1).all(1)
        assert moved.any() and not moved.all()


def test_shuffling_is_anew_each_epoch_of_training_and_fixed_outside_it(data: RunData):
    def draw(**words: int | bool) -> torch.Tensor:
        return loaded(data, "shuffled", **words)  # type: ignore[arg-type]

    assert torch.equal(draw(train=True), draw(train=True))
    assert not torch.equal(draw(train=True, epoch=1), draw(train=True, epoch=2))
    assert torch.equal(draw(train=False, epoch=1), draw(train=False, epoch=2))
    assert not torch.equal(draw(train=False, seed=3), draw(train=False, seed=4))


def test_order_of_time_is_in_the_fingerprint_only_where_it_is_changed():
    found = {
        order: fingerprint(override(TINY, {"input.time_order": order}))
        for order in ("as-is", "shuffled", "reversed", "one-frame")
    }
    assert found["as-is"] == fingerprint(TINY) and len(set(found.values())) == 4


def test_unknown_order_is_refused():
    with pytest.raises(ConfigError, match=r"input.time_order: expected one of as-is, shuffled, .* found 'sideways'"):
        override(TINY, {"input.time_order": "sideways"})


def test_samples_one_by_one_refuse_another_order(data: RunData):
    with pytest.raises(ConfigError, match=r"input.time_order: expected as-is for a FrameDataset, found reversed"):
        FrameDataset(data.frames, config=InputConfig(time_order="reversed"))


def test_a_run_is_tested_in_the_order_that_it_was_trained_in(cache: Path, tmp_path: Path):
    config = override(TINY, {"input.time_order": "shuffled", "schedule.epochs": 1, "binning.timesteps": 6})
    result = train_run(config, tmp_path / "run", cache)
    there = open_run(tmp_path / "run")
    assert there.config.input.time_order == "shuffled"
    data = open_data(config, cache)
    again = evaluate_test(there, load_selected(there, data, CPU)[0], data, CPU)
    assert again.accuracy == result["test_accuracy"] and again.loss == pytest.approx(result["test_loss"])
    straight = replace(there, config=override(there.config, {"input.time_order": "as-is"}))
    other = evaluate_test(straight, load_selected(there, data, CPU)[0], data, CPU)
    assert not np.array_equal(other.logits, again.logits)


def test_order_changes_frames_that_come_from_events_too(cache: Path, data: RunData):
    config = replace(TINY, input=InputConfig(source="events"), binning=Binning(timesteps=3))
    found = loaded(open_data(config, cache), "reversed", train=False)
    assert torch.equal(found, loaded(data, "reversed", train=False))
