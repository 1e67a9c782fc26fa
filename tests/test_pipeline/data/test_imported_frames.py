"""Imported frames train, evaluate, search, compare and report as cached frames do, and refuse what they cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline import load_run
from pipeline.config.run_config import RunConfig, override
from pipeline.data.dataset import FrameDataset
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import open_data
from pipeline.dry_run.dry_run import dry_run
from pipeline.evaluation.evaluate_run import evaluate_run
from pipeline.evaluation.spikes_over_time import SpikesOverTime
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess import import_frames
from preprocess.binning.binning_config import Binning
from preprocess.errors import ConfigError
from preprocess.events import Events
from preprocess.store.frame_cache import open_frames
from tune.cli import main

IMPORTED = override(TINY, {"dataset.name": "own", "binning.split_by": "imported", "network.width": 0.25})
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny`, its frames as SpikingJelly saves them, imported as `own`, and as TET's files, imported as `values`."""
    folder = tmp_path_factory.mktemp("imported")
    cache = tiny_cache(folder)
    frames = open_data(TINY, cache).frames
    for i in range(len(frames)):
        split = ("train", "test")[frames.samples.split[i]]
        counts = frames.read(i).astype(np.float64)
        path = folder / "sj" / "frames_number_3_split_by_number" / split / str(frames.samples.label[i]) / f"{i}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, frames=counts)
        other = folder / "tet" / split / f"{i}.pt"
        other.parent.mkdir(parents=True, exist_ok=True)
        values = torch.tensor(counts / counts.max(), dtype=torch.float32)
        torch.save([values, torch.tensor([frames.samples.label[i]])], other)
    import_frames(folder / "sj", "own", cache)
    import_frames(folder / "tet", "values", cache)
    return cache


@pytest.fixture(scope="module")
def trained(cache: Path) -> Path:
    folder = cache.parent / "trained"
    train_run(override(IMPORTED, {"schedule.epochs": 6}), folder, cache)
    return folder


def spikeloom(monkeypatch: pytest.MonkeyPatch, *argv: object) -> int:
    monkeypatch.setattr("sys.argv", ["spikeloom", *map(str, argv)])
    return main()


def test_the_networks_input_is_that_of_the_events(cache: Path):
    here, there = open_data(IMPORTED, cache), open_data(TINY, cache)
    assert (len(here.splits.train), len(here.splits.test)) == (len(there.splits.train), len(there.splits.test))
    for i, name in enumerate(here.frames.samples.name):
        np.testing.assert_array_equal(here.frames.read(i), there.frames.read(int(Path(name).name)))


def test_a_run_on_imported_frames_is_evaluated_and_predicts(trained: Path, cache: Path):
    result = evaluate_run(open_run(trained), cache)
    assert result["test_accuracy"] > 0.5
    network = load_run(trained)
    data = open_data(IMPORTED, cache)
    counts = np.stack([data.frames.read(int(i)) for i in data.splits.test])
    with np.load(trained / "predictions.npz") as file:
        assert [one.label for one in network.predict(counts)] == file["logits"].argmax(1).tolist()
    with pytest.raises(ConfigError, match="how imported frames were binned is not known"):
        network.predict(_events())
    assert SpikesOverTime(open_run(trained), data.frames).shares(3).shape[1] == 3


def _events() -> Events:
    one = np.arange(30)
    return Events(one, (one % 16).astype(np.uint16), (one % 16).astype(np.uint16), (one % 2).astype(np.uint8), 16, 16)


def test_values_that_are_not_counts_reach_the_network_unchanged(cache: Path, tmp_path: Path):
    config = override(IMPORTED, {"dataset.name": "values", "input.time_order": "one-frame"})
    data = open_data(config, cache)
    assert data.frames.dtype == np.float32
    loader = FrameLoader(data.frames, data.splits.test, 8, config.input, CPU)
    batches = list(loader.batches())
    for k, i in enumerate(data.splits.test[:8]):
        values = data.frames.read(int(i))
        fullest = values.sum((1, 2, 3)).argmax()
        np.testing.assert_array_equal(batches[0].frames[fullest, k].numpy(), values[fullest])
        assert batches[0].frames[:, k].count_nonzero() == np.count_nonzero(values[fullest])
    from_set = FrameDataset(data.frames, data.splits.test)[1][0]
    np.testing.assert_array_equal(from_set.numpy(), data.frames.read(int(data.splits.test[1])))
    train_run(override(config, {"input.time_order": "as-is", "schedule.epochs": 1}), tmp_path / "run", cache)
    network = load_run(tmp_path / "run")
    evaluate_run(open_run(tmp_path / "run"), cache)
    values = np.stack([data.frames.read(int(i)) for i in data.splits.test])
    with np.load(tmp_path / "run" / "predictions.npz") as file:
        assert [one.label for one in network.predict(values)] == file["logits"].argmax(1).tolist()
    with pytest.raises(ConfigError, match=r"input\.encoding: expected counts or binary, because the frames of values"):
        open_data(override(config, {"input.encoding": "pil-la", "input.size": 16}), cache)


def refusal(config: RunConfig, cache: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        open_data(config, cache)
    (line,) = refused.value.errors
    return line


def test_what_imported_frames_do_not_have_is_refused_in_a_line(trained: Path, cache: Path):
    own = {"dataset.name": "own"}
    assert "expected --binning.split-by imported" in refusal(override(TINY, own), cache)
    assert "found timesteps 8" in refusal(override(IMPORTED, {"binning.timesteps": 8}), cache)
    assert "found downsample 2" in refusal(override(IMPORTED, {"binning.downsample": 2}), cache)
    assert "input.source: expected cache" in refusal(override(IMPORTED, {"input.source": "events"}), cache)
    assert "tiny has an event store" in refusal(override(IMPORTED, {"dataset.name": "tiny"}), cache)
    with pytest.raises(ConfigError, match="--timesteps: expected none, because the frames of own were imported"):
        evaluate_run(open_run(trained), cache, timesteps=[6])


def test_the_dry_run_reads_the_imported_frames(cache: Path):
    report = dry_run(IMPORTED, cache)
    assert (report["timesteps"], report["classes"], report["train_samples"]) == (3, 3, 27)
    assert report["step"]["loss"] > 0


def test_neurons_with_weights_for_each_step_fit_one_t(cache: Path, tmp_path: Path):
    config = override(IMPORTED, {"neuron.name": "psn", "schedule.epochs": 1})
    assert train_run(config, tmp_path / "run", cache)["timesteps"] == 3


def test_t_that_varies_is_padded_and_masked(cache: Path, tmp_path: Path):
    source = tmp_path / "src"
    shutil.copytree(cache.parent / "sj" / "frames_number_3_split_by_number", source)
    for path in sorted(source.glob("*/1/*.npz")):
        with np.load(path) as file:
            frames = file["frames"]
        np.savez_compressed(path, frames=np.concatenate([frames, frames[:2]]))
    found = import_frames(source, "varying", tmp_path / "cache")
    assert open_frames(found.path).binning == Binning(split_by="imported_varying")
    config = override(IMPORTED, {"dataset.name": "varying", "binning.split_by": "imported_varying"})
    data = open_data(config, tmp_path / "cache")
    loader = FrameLoader(data.frames, data.splits.test, 36, config.input, CPU)
    (batch,) = loader.batches()
    assert batch.lengths is not None and sorted(set(batch.lengths.tolist())) == [3, 5]
    result = train_run(override(config, {"schedule.epochs": 1}), tmp_path / "run", tmp_path / "cache")
    assert result["test_samples"] == 36


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.slow
def test_imported_frames_are_searched_compared_and_reported(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shared_ray: None
):
    fields = ("--binning.split-by", "imported", "--binning.timesteps", "3", "--dataset.name", "own")
    fields += ("--network.width", "0.125", "--schedule.epochs", "1", "--threads", "1", "--batch-size", "8")
    where = ("--cache", cache, "--out", tmp_path / "search", "--concurrent", "1")
    searched = ("--space", "binning.timesteps=3,6", "--samples", "2")
    assert spikeloom(monkeypatch, "tune", "n-mnist-small", *where, *searched, *fields) == 2
    assert "the frames of own were imported" in capsys.readouterr().err
    assert not (tmp_path / "search").exists()
    assert spikeloom(monkeypatch, "tune", "n-mnist-small", *where, "--samples", "2", *fields) == 0
    best = json.loads((tmp_path / "search" / "best.json").read_text())
    assert best["config"]["binning"]["split_by"] == "imported"
    where = ("--cache", cache, "--out", tmp_path / "comparison", "--seeds", "2")
    assert spikeloom(monkeypatch, "compare", "n-mnist-small", *where, *fields) == 0
    assert spikeloom(monkeypatch, "report", tmp_path / "comparison") == 0
    page = (tmp_path / "comparison" / "report.html").read_text()
    assert "imported" in page and "No event frames to show" not in page
