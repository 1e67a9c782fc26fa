"""Emulated cues: the class is shown early and nowhere else, so that whoever answers late has remembered it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocess.building.build_event_store import build_event_store
from preprocess.cli import COMMANDS
from preprocess.datasets import find_layout
from preprocess.emulator import cue
from preprocess.emulator.cue import CUE_US, PROBE_US, Recorder, User, emulate_cue
from preprocess.emulator.cue_positions import PLACES, ring
from preprocess.emulator.gestures import emulate_gestures
from preprocess.emulator.lighting import LIGHTS, Light
from preprocess.emulator.sensor import PixelModel, Sensor
from preprocess.errors import CacheError, ConfigError, LayoutError
from preprocess.events import Events
from preprocess.formats import open_recording
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.sample_table import TEST, TRAIN
from preprocess.terminal.command_line import run_main

LAG_MS = 60
USER = User(8.0, 38.0, 64.0, 63.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("cues") / "cue"
    return emulate_cue(out, samples_per_class=16, seed=1, lag_ms=LAG_MS, test_share=0.5)


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory) -> EventStore:
    return open_events(build_event_store(find_layout("emulated-cue", folder), tmp_path_factory.mktemp("cache")))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=list(map(str, words)))


def film(order: list[int], light: Light, lag_us: int = 50_000) -> tuple[Events, list[tuple[int, int, int]]]:
    recorder = Recorder(USER, light, [3, 0, 0], lag_us, order)
    return Events.concatenate(recorder.chunks(), 128, 128), recorder.labels


def within(events: Events, start: int, end: int) -> Events:
    return events[(events.t >= start) & (events.t < end)]


@pytest.mark.slow
def test_folder_is_a_layout_with_every_cue_in_each_recording(folder: Path):
    layout = find_layout("emulated-cue", folder)
    assert layout.classes == PLACES and len(PLACES) == 8 and len(layout.recordings) == 16
    for recording in layout.recordings:
        assert sorted(sample.label for sample in recording.samples) == list(range(8))
    orders = {tuple(sample.label for sample in recording.samples) for recording in layout.recordings}
    assert len(orders) == 16
    samples = [sample for recording in layout.recordings for sample in recording.samples]
    users = {split: {sample.group for sample in samples if sample.split == split} for split in (TRAIN, TEST)}
    assert users == {TRAIN: {"user01", "user02"}, TEST: {"user03", "user04"}}


@pytest.mark.parametrize("lag_us", [0, 5_000, 201_000, 450_000])
def test_a_sample_is_as_long_as_cue_lag_and_probe(lag_us: int):
    events, labels = film([4, 2], LIGHTS["led"], lag_us)
    assert [label for label, _, _ in labels] == [5, 3]
    assert {end - start for _, start, end in labels} == {CUE_US + lag_us + PROBE_US}
    assert labels[0][2] < labels[1][1] and np.all(np.diff(events.t) >= 0)


def test_the_cue_is_at_the_place_of_its_class_and_the_probe_at_all():
    # Without noise every event is of a shape.
    events, labels = film(list(range(8)), Light(1.0, 0.0), 0)
    for label, start, end in labels:
        shown = within(events, start, start + CUE_US)
        direction = ring(1.0)[label - 1]
        middle = np.array([np.median(shown.x) - USER.x, np.median(shown.y) - USER.y])
        assert middle @ direction / np.linalg.norm(middle) > 0.95
        assert 33 < np.linalg.norm(middle) < 43
        probe = within(events, start + CUE_US, end)
        angles = np.arctan2(probe.y - USER.y, probe.x - USER.x)
        counts = np.bincount(np.round(angles / (np.pi / 4)).astype(int) % 8, minlength=8)
        assert counts.min() > 0.5 * counts.max()


def test_nothing_after_the_cue_depends_on_the_class(monkeypatch):
    monkeypatch.setattr(cue, "LEAK_HZ", 0.0)
    late = []
    for order in ([0, 1, 2], [5, 6, 3]):
        # Noise falls otherwise where there were other events before; without it, every event is the same.
        events, labels = film(order, Light(1.0, 0.0))
        late.append([within(events, start + CUE_US, end) for _, start, end in labels])
    for one, other in zip(*late, strict=True):
        assert len(one) > 5000
        for column in ("t", "x", "y", "p"):
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column))


def test_reset_pixels_remember_the_present_light_without_an_event():
    sensor = Sensor(PixelModel(shot_hz=0, leak_hz=0), 4, 4, 0)
    bright = np.full((1, 4, 4), 1.15, np.float32)
    assert len(sensor.expose(np.ones((1, 4, 4), np.float32), np.array([0]))) == 0
    # Too little for an event: but two such steps are enough, unless the first is forgotten.
    assert len(sensor.expose(bright, np.array([1000]))) == 0
    sensor.reset()
    assert len(sensor.expose(bright**2, np.array([2000]))) == 0
    assert len(sensor.expose(bright**3, np.array([3000]))) == 16


def frames_of(store: EventStore, begin_us: int, end_us: int) -> NDArray[np.float64]:
    """Events of a part of every sample on 16x16 pixels, by polarity; shape (N, 512)."""
    found = []
    for i, start in enumerate(store.samples.start_us):
        events = store.read(i)
        part = within(events, int(start) + begin_us, int(start) + end_us)
        frame = np.zeros((2, 16, 16))
        np.add.at(frame, (part.p, part.y // 8, part.x // 8), 1)
        found.append(frame.ravel())
    return np.array(found)


def linear_accuracy(store: EventStore, begin_us: int, end_us: int) -> float:
    """Of a linear classifier of sums of events, trained on some users and tested on others."""
    frames, table = np.sqrt(frames_of(store, begin_us, end_us)), store.samples
    train, test = table.split == TRAIN, table.split == TEST
    from sklearn.linear_model import RidgeClassifier

    model = RidgeClassifier(alpha=10.0).fit(frames[train], table.label[train])
    return float((model.predict(frames[test]) == table.label[test]).mean())


def test_late_frames_tell_a_linear_classifier_nothing_and_the_cue_tells_all(store: EventStore):
    end = CUE_US + LAG_MS * 1000 + PROBE_US
    # 64 test samples of eight classes: 17 by chance in one of a thousand cases.
    assert linear_accuracy(store, 0, CUE_US) > 0.9
    assert linear_accuracy(store, CUE_US, end) < 17 / 64
    assert linear_accuracy(store, end - PROBE_US, end) < 17 / 64


def test_equal_words_give_equal_bytes_and_other_seeds_and_lags_do_not(tmp_path: Path):
    def made(name: str, **words: int) -> dict[str, str]:
        return digests(emulate_cue(tmp_path / name, samples_per_class=2, **({"seed": 3, "lag_ms": 20} | words)))

    first, again, other, longer = made("a"), made("b"), made("c", seed=4), made("d", lag_ms=40)
    assert first == again
    for changed in (other, longer):
        assert first.keys() == changed.keys()
        assert all(first[name] != changed[name] for name in first if name.endswith((".aedat", ".csv")))


def test_header_and_folder_say_that_they_are_emulated_and_the_lag(folder: Path):
    header = open_recording(folder / "user01_fluorescent.aedat").header
    (said,) = (line for line in header if "emulated by" in line)
    assert "no camera recorded this" in said and "lag 60 ms; pixels are reset as each cue ends" in said
    about = json.loads((folder / "emulated.json").read_text())
    assert (about["emulated"], about["lag_ms"], about["test_share"], about["samples"]) == ("cue", 60, 0.5, 128)


def test_each_lag_has_a_cache_of_its_own(folder: Path, store: EventStore, tmp_path: Path):
    assert (store.path.parent.name, store.dataset) == ("emulated-cue-lag60", "emulated-cue")
    short = emulate_cue(tmp_path / "out", samples_per_class=2, seed=0, lag_ms=0)
    assert find_layout("emulated-cue", short).name == "emulated-cue-lag0"
    assert find_layout("emulated-cue", folder, name="mine").name == "mine"


def test_a_missing_cache_names_the_words_that_make_it(tmp_path: Path):
    with pytest.raises(CacheError) as error:
        open_events(tmp_path / "emulated-cue-lag400" / "events.h5")
    assert "Make it: spikeloom emulate cue --lag-ms 400 " in str(error.value)
    assert "then spikeloom preprocess emulated-cue --source DIR" in str(error.value)


def without_lag(folder: Path) -> None:
    about = json.loads((folder / "emulated.json").read_text())
    (folder / "emulated.json").write_text(json.dumps(about | {"lag_ms": "../x"}))


def without_about(folder: Path) -> None:
    (folder / "emulated.json").unlink()


@pytest.mark.parametrize(
    ("damage", "found"), [(without_lag, "found '../x'"), (without_about, "found None")], ids=["another", "none"]
)
def test_a_folder_that_does_not_say_its_lag_is_refused(tmp_path: Path, damage: Callable[[Path], None], found: str):
    out = emulate_cue(tmp_path / "out", samples_per_class=2, seed=0, lag_ms=0)
    damage(out)
    expected = f"{out}/emulated.json: expected a whole number from 0 as lag_ms, {found}. Emulate the folder again."
    with pytest.raises(LayoutError, match=re.escape(expected)):
        find_layout("emulated-cue", out)


def test_cues_and_gestures_are_not_taken_for_each_other(folder: Path, tmp_path: Path):
    with pytest.raises(LayoutError, match=r"expected recordings of emulated-gestures, found emulated cue \(emul"):
        find_layout("emulated-gestures", folder)
    with pytest.raises(LayoutError, match=r"expected recordings of a camera, found .* Preprocess it as emulated-cue\."):
        find_layout("dvs-gesture", folder)
    gestures = emulate_gestures(tmp_path / "out", samples_per_class=2, seed=0)
    with pytest.raises(LayoutError, match="expected a class from 1 to 8, found 9"):
        find_layout("emulated-cue", gestures)


def test_command_makes_preprocesses_and_keeps_cues(tmp_path: Path, capsys):
    out, cache = tmp_path / "cues", tmp_path / "cache"
    words = ("emulate", "cue", "--out", out, "--samples-per-class", 2, "--lag-ms", 50)
    assert run(*words) == 0
    first, following = capsys.readouterr().out.splitlines()
    assert first.startswith(f"Emulated cue in {out}: 2 recordings, 16 samples, ")
    assert following.startswith("Next: spikeloom preprocess emulated-cue --source")
    assert run(*words) == 0 and "(already there)" in capsys.readouterr().out
    assert run(*words[:-1], 75) == 2
    assert "--lag-ms 75" in (err := capsys.readouterr().err) and "--lag-ms 50" in err
    assert run(*following.removeprefix("Next: spikeloom ").split(), "--cache", cache, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    # 250 ms are five steps of 50 ms.
    assert "emulated-cue-lag50/frames/duration-50000us-32x32.h5" in answer["caches"][1]
    with h5py.File(answer["caches"][1]) as file:
        assert file["frames"].shape == (16, 5, 2, 32, 32)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cue", "--lag-ms", -1], "--lag-ms: expected 0 to 60000 ms, found -1"),
        (["gestures", "--lag-ms", 5], "--lag-ms: expected with cue only, found with gestures. Leave it out."),
        (["cue", "--difficulty", "hard"], "--difficulty: expected with gestures only, found with cue. Leave it out."),
        (["cue", "--test-share", 1.5], "--test-share: expected a fraction between 0 and 1, found 1.5"),
        (["cue", "--samples-per-class", 1], "samples per class: expected at least 2 (one user"),
    ],
)
def test_faulty_words_are_one_line(tmp_path: Path, capsys, words: list[object], message: str):
    assert run("emulate", *words, "--out", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and not list(tmp_path.iterdir())


def test_a_lag_below_0_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="lag: expected 0 ms or more, found -5"):
        emulate_cue(tmp_path / "out", samples_per_class=2, seed=0, lag_ms=-5)
