"""Emulated gestures: laid out as DVS128-Gesture, in pairs that differ in the order of time and in nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from preprocess.datasets import find_layout
from preprocess.emulator.difficulty import Difficulty
from preprocess.emulator.gesture_motions import GESTURES, PAIRS, path_of
from preprocess.emulator.gestures import User, emulate_gestures
from preprocess.emulator.lighting import LIGHTS
from preprocess.emulator.shapes import SHAPES, Motion, film
from preprocess.errors import ConfigError
from preprocess.events import Events
from preprocess.formats import open_recording
from preprocess.store.sample_table import TEST, TRAIN


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return emulate_gestures(tmp_path_factory.mktemp("emulated") / "gestures", samples_per_class=4, seed=1)


def read(path: Path) -> Events:
    return Events.concatenate(open_recording(path).chunks(), 128, 128)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_folder_is_a_layout_with_all_gestures_in_each_recording(folder: Path):
    layout = find_layout("emulated-gestures", folder)
    assert layout.classes == GESTURES and len(GESTURES) == 11
    assert len(layout.recordings) == 4
    for recording in layout.recordings:
        assert sorted(sample.label for sample in recording.samples) == list(range(11))
        assert all(
            first.end_us < then.start_us for first, then in zip(recording.samples, recording.samples[1:], strict=False)
        )
    orders = {tuple(sample.label for sample in recording.samples) for recording in layout.recordings}
    assert len(orders) == 4


def test_users_are_either_of_training_or_of_test(folder: Path):
    samples = [
        sample for recording in find_layout("emulated-gestures", folder).recordings for sample in recording.samples
    ]
    users = {split: {sample.group for sample in samples if sample.split == split} for split in (TRAIN, TEST)}
    assert users == {TRAIN: {"user01"}, TEST: {"user02"}}


@pytest.mark.parametrize(("count", "users", "test_users"), [(2, 2, 1), (5, 2, 1), (11, 3, 1), (40, 8, 2)])
def test_number_of_recordings_is_what_was_asked_for(
    tmp_path: Path, monkeypatch, count: int, users: int, test_users: int
):
    monkeypatch.setattr("preprocess.emulator.gestures._record", lambda *_: 0)
    out = emulate_gestures(tmp_path / "out", samples_per_class=count, seed=0)
    train, test = ((out / f"trials_to_{split}.txt").read_text().split() for split in ("train", "test"))
    names = [name.removesuffix(".aedat").split("_", 1) for name in train + test]
    assert len({tuple(name) for name in names}) == count
    assert {light for _, light in names} <= set(LIGHTS)
    assert len({user for user, _ in names}) == users
    assert len({name.split("_")[0] for name in test}) == test_users


def test_recordings_look_like_recordings(folder: Path):
    for recording in find_layout("emulated-gestures", folder).recordings:
        events = read(recording.path)
        assert np.all(np.diff(events.t) >= 0)
        for sample in recording.samples:
            assert sample.start_us is not None and sample.end_us is not None
            seconds = (sample.end_us - sample.start_us) / 1e6
            count = np.count_nonzero((events.t >= sample.start_us) & (events.t < sample.end_us))
            assert 0.45 < seconds < 1.0
            assert 5_000 < count / seconds < 200_000
        pauses = (events.t >= 0) & (events.t < recording.samples[0].start_us - 100_000)
        # Nothing but noise: everywhere, and a few events a second and pixel.
        assert 0.1 < np.count_nonzero(pauses) / (128 * 128 * 0.1) < 2
        assert len(np.unique(events.y[pauses] // 32 * 4 + events.x[pauses] // 32)) == 16


def test_header_says_that_it_is_emulated(folder: Path):
    header = open_recording(folder / "user01_fluorescent.aedat").header
    assert any("emulated by spikeloom: no camera recorded this" in line for line in header)


@pytest.mark.parametrize(("forward", "backward"), PAIRS)
def test_a_pair_is_one_path_run_both_ways(forward: str, backward: str):
    progress = np.linspace(0, 1, 50)
    there = np.array(path_of(forward, progress, 0.3))
    back = np.array(path_of(backward, progress, 0.3))
    np.testing.assert_allclose(back, there[:, ::-1], atol=1e-12)
    assert np.abs(there[:, 0] - there[:, -1]).max() > 0.5


def test_names_say_how_shapes_move():
    progress = np.linspace(0, 1, 100)
    moves = {gesture: np.array(path_of(gesture, progress, 0.0)) for gesture in GESTURES}
    # x runs to the right and y downwards, as on a screen.
    directions = {"swipe_right": (1, 0), "swipe_left": (-1, 0), "swipe_down": (0, 1), "swipe_up": (0, -1)}
    directions |= {"slash_down": (-1, 1), "slash_up": (1, -1)}
    for gesture, direction in directions.items():
        np.testing.assert_array_equal(np.sign(np.round(moves[gesture][:2, -1] - moves[gesture][:2, 0], 6)), direction)
    for gesture, sign in (("circle_clockwise", 1), ("circle_counter_clockwise", -1)):
        x, y, _ = moves[gesture]
        # From right (x > 0) through below (y > 0) to the left is clockwise where y runs downwards.
        assert np.all(np.sign(x[:-1] * y[1:] - x[1:] * y[:-1]) == sign)
    assert np.all(np.diff(moves["approach"][2]) > 0) and np.all(np.diff(moves["retreat"][2]) < 0)
    assert np.count_nonzero(np.diff(np.sign(np.diff(moves["wave"][0])))) >= 3


@pytest.mark.parametrize("shape", SHAPES)
def test_dark_for_bright_and_backwards_is_the_same_film(shape: str):
    rng = np.random.default_rng(0)
    poses = np.column_stack(
        [rng.uniform(20, 44, (40, 2)), rng.uniform(6, 12, 40), rng.uniform(0, 6, 40), np.full(40, 0.9)]
    )
    inverse = poses[::-1] * [1, 1, 1, 1, -1]
    bright = np.concatenate([frames.copy() for _, frames in film(Motion(shape, poses), 64, 64)])
    dark = np.concatenate([frames.copy() for _, frames in film(Motion(shape, inverse), 64, 64)])
    assert bright.shape == (40, 64, 64)
    np.testing.assert_allclose(bright * dark[::-1], 1, rtol=1e-6)
    assert bright.max() == pytest.approx(np.exp(0.9)) and bright.min() == 1


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("disc", np.pi),
        ("square", 1.5**2),
        ("triangle", 0.75 * np.sqrt(3)),
        ("ring", np.pi * (1 - 0.4**2)),
        ("cross", 2 * 2 * 0.7 - 0.7**2),
    ],
)
def test_shapes_have_their_size_and_place(shape: str, area: float):
    pose = np.array([[30.25, 33.5, 15.0, 0.4, np.log(2)]])
    ((_, frames),) = film(Motion(shape, pose), 64, 64)
    inside = np.log2(frames[0])
    rows, columns = np.mgrid[:64, :64]
    assert inside.sum() == pytest.approx(area * 15**2, rel=0.01)
    assert (inside * columns).sum() / inside.sum() == pytest.approx(30.25, abs=0.05)
    assert (inside * rows).sum() / inside.sum() == pytest.approx(33.5, abs=0.05)


def test_shapes_may_leave_the_scene():
    poses = np.array([[-40.0, 20, 10, 0, 1], [0.0, 0, 10, 0, 1], [63, 80, 12, 1, 1]])
    ((_, frames),) = film(Motion("cross", poses), 64, 64)
    assert frames[0].max() == 1 and frames[1, 0, 0] > 2 and frames[1, 40:].max() == 1


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path):
    first, again, other = (
        digests(emulate_gestures(tmp_path / name, samples_per_class=2, seed=seed))
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first if name.endswith((".aedat", ".csv")))


@pytest.mark.slow
def test_a_user_has_the_same_habits_in_every_light_and_others_with_another_seed(tmp_path: Path, monkeypatch):
    random, met = User.random, []

    def meet(rng: np.random.Generator, among: Difficulty) -> User:
        met.append(random(rng, among))
        return met[-1]

    monkeypatch.setattr(User, "random", meet)
    for seed in (0, 1):
        emulate_gestures(tmp_path / str(seed), samples_per_class=3, seed=seed)
    assert (len(met), len(set(met))) == (6, 4)


def test_too_few_samples_for_two_users_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"expected at least 2 \(one user to train, one to test\), found 1"):
        emulate_gestures(tmp_path / "out", samples_per_class=1, seed=0)
    assert not list(tmp_path.iterdir())


def test_spikingjelly_cuts_the_same_samples(folder: Path, tmp_path: Path):
    from spikingjelly.datasets.dvs128_gesture import _split_aedat_files_to_np

    for label in range(11):
        (tmp_path / str(label)).mkdir()
    _split_aedat_files_to_np(
        "user02_fluorescent", folder / "user02_fluorescent.aedat", folder / "user02_fluorescent_labels.csv", tmp_path
    )
    events = read(folder / "user02_fluorescent.aedat")
    layout = find_layout("emulated-gestures", folder)
    (recording,) = (recording for recording in layout.recordings if recording.relative == "user02_fluorescent.aedat")
    for sample in recording.samples:
        theirs = np.load(tmp_path / str(sample.label) / "user02_fluorescent_0.npz")
        ours = events[(events.t >= sample.start_us) & (events.t < sample.end_us)]
        np.testing.assert_array_equal(theirs["t"], ours.t)
        np.testing.assert_array_equal(theirs["x"], ours.x)
