"""spikeloom preprocess builds what is missing, says what there is, and answers scripts in one JSON object."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_layout import TinyLayout, random_events, tiny_layout

import preprocess.datasets
from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import bin_events
from preprocess.cli import COMMANDS
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames
from preprocess.terminal.command_line import run_main


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=["preprocess", *map(str, words)])


@pytest.fixture
def layout(tmp_path: Path, monkeypatch) -> TinyLayout:
    """Stands in for the layout that is found in a folder."""
    samples = [random_events(i, 300) for i in range(9)]
    found = tiny_layout(tmp_path / "src", samples, name="n-mnist")
    monkeypatch.setattr(preprocess.datasets, "find_layout", lambda *_, **__: found, raising=False)
    monkeypatch.setattr(preprocess.datasets, "DATASETS", ("n-mnist", "dvs-gesture", "cifar10-dvs"), raising=False)
    return found


def test_json_is_one_object_and_nothing_else(layout: TinyLayout, tmp_path: Path, capsys):
    words = ("n-mnist", "--source", tmp_path / "src", "--cache", tmp_path / "cache", "--timesteps", 4, 6, "--json")
    assert run(*words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["dataset"], answer["samples"], answer["events"]) == ("tiny", 9, 2700)
    assert 0 < answer["seconds"] < 60
    folder = tmp_path / "cache" / "n-mnist"
    names = ("events.h5", "frames/number-T4-8x10.h5", "frames/number-T6-8x10.h5")
    assert answer["caches"] == [str(folder / name) for name in names]
    assert all(Path(path).is_file() for path in answer["caches"])


def test_tables_show_classes_splits_and_files(layout: TinyLayout, tmp_path: Path, capsys):
    words = ("n-mnist", "--source", tmp_path / "src", "--cache", tmp_path / "cache", "--timesteps", 4)
    assert run(*words) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("class0", "class2", "train", "test", "2,700", "2 of 2 caches made in", "MB/s"))
    assert "events seen: 2,700" in out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.h5")}
    assert run(*words) == 0
    out = capsys.readouterr().out
    assert "Nothing to do: all caches exist and match their recordings" in out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.h5")}


def test_many_classes_stay_readable(tmp_path: Path, monkeypatch, capsys):
    found = tiny_layout(tmp_path / "src", [random_events(i, 30) for i in range(60)], classes=50)
    monkeypatch.setattr(preprocess.datasets, "find_layout", lambda *_, **__: found, raising=False)
    monkeypatch.setattr(preprocess.datasets, "DATASETS", ("n-mnist",), raising=False)
    assert run("n-mnist", "--source", tmp_path / "src", "--cache", tmp_path / "cache") == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) < 40
    assert "fewest" in out and "60" in out


def test_split_by_downsample_and_default_cache(layout: TinyLayout, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "elsewhere"))
    words = ("n-mnist", "--source", tmp_path / "src", "--timesteps", 5, "--split-by", "time", "--downsample", 2)
    assert run(*words, "--json") == 0
    _, path = json.loads(capsys.readouterr().out)["caches"]
    assert path == str(tmp_path / "elsewhere" / "n-mnist" / "frames" / "time-T5-4x5.h5")
    expected = bin_events(random_events(3, 300), Binning(5, "time", 2))
    np.testing.assert_array_equal(open_frames(path).read(3), expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["n-mnits"], "found 'n-mnits'. Did you mean 'n-mnist'?"),
        (["gesture"], "Did you mean 'dvs-gesture'?"),
        (["n-mnist", "--timesteps", "0"], "binning.timesteps: expected at least 1, found 0"),
        (["n-mnist", "--downsample", "0", "--timesteps", "4"], "binning.downsample: expected at least 1, found 0"),
        (["n-mnist", "--workers", "0"], "--workers: expected at least 1, found 0"),
        (["n-mnist", "--name", "../x"], "--name: expected the name of a folder, such as my-gestures, found '../x'"),
    ],
)
def test_faulty_words_are_one_line_each(layout: TinyLayout, tmp_path: Path, capsys, words: list[str], message: str):
    assert run(*words, "--source", tmp_path / "src", "--cache", tmp_path / "cache") == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.out == ""
    assert len(printed.err.splitlines()) == 1 and printed.err.startswith("spikeloom: ")
    assert not (tmp_path / "cache").exists()


def test_help_shows_an_example(capsys):
    assert run("--help") == 0
    assert "Example: spikeloom preprocess n-mnist --source n-mnist --timesteps 4 10" in capsys.readouterr().out


def test_empty_sample_stops_with_its_name_and_keeps_no_cache(layout: TinyLayout, tmp_path: Path, capsys):
    np.save(layout.recordings[4].path, np.empty((4, 0), np.int64))
    assert run("n-mnist", "--source", tmp_path / "src", "--cache", tmp_path / "cache") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spikeloom: ") and "sample 'sämple4': expected at least one event, found none" in line
    assert not list((tmp_path / "cache").rglob("events.h5"))


@pytest.mark.real
def test_real_n_mnist_becomes_spikingjellys_frames(real_data: Path, tmp_path: Path, capsys):
    from spikingjelly.datasets.utils import integrate_events_by_fixed_frames_number, load_ATIS_bin

    source = tmp_path / "n-mnist"
    for split, digits in (("Train", "05"), ("Test", "05")):
        for digit in digits:
            (source / split / digit).mkdir(parents=True)
            for path in sorted((real_data / "n-mnist" / split / digit).iterdir())[:4]:
                (source / split / digit / path.name).write_bytes(path.read_bytes())
    assert run("n-mnist", "--source", source, "--cache", tmp_path / "cache", "--timesteps", 10, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    store, frames = open_events(answer["caches"][0]), open_frames(answer["caches"][1])
    assert (store.height, store.width, len(store)) == (34, 34, 16)
    files = {path.stem: path for path in source.rglob("*.bin")}
    compared = 0
    for i, name in enumerate(store.samples.name):
        (path,) = (path for stem, path in files.items() if stem in str(name))
        events = load_ATIS_bin(path)
        expected = integrate_events_by_fixed_frames_number(events, "number", 10, 34, 34)
        np.testing.assert_array_equal(frames.read(i), expected)
        np.testing.assert_array_equal(store.read(i).t, events["t"])
        compared += 1
    assert compared == 16
