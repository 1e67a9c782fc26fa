"""Hard gestures: the same classes amid more, named hard wherever they go; plain ones stay what they were."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from preprocess.building.build_event_store import build_event_store
from preprocess.cli import COMMANDS
from preprocess.datasets import find_layout
from preprocess.emulator.difficulty import HARD, PLAIN
from preprocess.emulator.distractors import random_distractor
from preprocess.emulator.gestures import User, emulate_gestures
from preprocess.emulator.lighting import LIGHTS
from preprocess.emulator.shapes import Motion, film
from preprocess.errors import ConfigError, LayoutError
from preprocess.formats import open_recording
from preprocess.store.event_store import open_events
from preprocess.store.sample_table import TEST, TRAIN
from preprocess.terminal.command_line import run_main

# What these words wrote before there was anything but plain gestures.
GOLDEN = {
    "trials_to_test.txt": "6ade753fdcfbc731a0d55727f70b29702df237b57aab675aefee48da5e55a7e5",
    "trials_to_train.txt": "d0cb2226132cea482210b77c4deae3c64f82eb6a047d0f1e09eaf032cda99d76",
    "user01_fluorescent.aedat": "343070c79b217ed98f37adb06f74efb80405e830cc0bee837f84cde27b2beeda",
    "user01_fluorescent_labels.csv": "83d046a0ecdb0287a3e3575d5f9098075a70f0affd7858db6632ab7cfb2c7001",
    "user02_fluorescent.aedat": "a8026d85073eba565514339fbf278dced313495af74e2a1cd5c2aa228b835a44",
    "user02_fluorescent_labels.csv": "e12203d8a6a54e10a5c24198bd19d1b4c5f72ea77bf098229bf4e055db08beea",
}

# Of hard gestures' user01_fluorescent.aedat, as the words of the fixture first wrote it.
GOLDEN_HARD = "7dea90eb1f0e2e42c344af7530c74e4533383c5530c39d61e3617a4671d0b977"


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return emulate_gestures(tmp_path_factory.mktemp("plain") / "gestures", samples_per_class=2, seed=1)


@pytest.fixture(scope="module")
def hard(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("hard") / "gestures"
    return emulate_gestures(out, samples_per_class=2, seed=1, difficulty="hard", test_share=0.5)


def digests(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.iterdir() if path.name != "emulated.json")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def emulate(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=["emulate", *map(str, words)])


def test_plain_gestures_are_the_bytes_that_they_were(plain: Path):
    assert digests(plain) == GOLDEN


@pytest.mark.slow
def test_hard_gestures_are_the_same_bytes_again_and_others_than_plain_ones(plain: Path, hard: Path, tmp_path: Path):
    again = emulate_gestures(tmp_path / "again", samples_per_class=2, seed=1, difficulty="hard", test_share=0.5)
    assert digests(again) == digests(hard)
    # Where these words give other bytes on purpose, EMULATOR_VERSION counts up.
    assert digests(hard)["user01_fluorescent.aedat"] == GOLDEN_HARD
    assert digests(plain).keys() == digests(hard).keys()
    recordings = [name for name in digests(hard) if name.startswith("user")]
    assert all(digests(plain)[name] != digests(hard)[name] for name in recordings)


def test_hard_gestures_are_called_hard_and_emulated(plain: Path, hard: Path):
    about = json.loads((hard / "emulated.json").read_text())
    assert (about["emulated"], about["difficulty"], about["test_share"]) == ("gestures", "hard", 0.5)
    about = json.loads((plain / "emulated.json").read_text())
    assert (about["difficulty"], about["test_share"]) == ("plain", 0.2)
    for folder, ending in ((plain, "user 1, light fluorescent, seed 1"), (hard, "light fluorescent, seed 1, hard")):
        (said,) = (line for line in open_recording(folder / "user01_fluorescent.aedat").header if "emulated by" in line)
        assert "no camera recorded this" in said and said.strip().endswith(ending)


def test_cache_of_hard_gestures_has_a_name_of_its_own_and_stays_emulated(plain: Path, hard: Path, tmp_path: Path):
    assert find_layout("emulated-gestures", plain).name == "emulated-gestures"
    assert find_layout("emulated-gestures", hard, name="mine").name == "mine"
    path = build_event_store(find_layout("emulated-gestures", hard), tmp_path)
    assert path == tmp_path / "emulated-gestures-hard" / "events.h5"
    store = open_events(path)
    assert (store.dataset, len(store)) == ("emulated-gestures", 22)


def test_difficulty_that_nobody_emulates_names_no_cache(tmp_path: Path):
    out = emulate_gestures(tmp_path / "out", samples_per_class=2, seed=0)
    about = json.loads((out / "emulated.json").read_text())
    (out / "emulated.json").write_text(json.dumps(about | {"difficulty": "../../elsewhere"}))
    with pytest.raises(LayoutError, match=r"emulated.json: expected difficulty plain or hard, found '../../elsewhere'"):
        find_layout("emulated-gestures", out)


@pytest.mark.parametrize(
    ("count", "share", "train", "test"),
    [(4, 0.2, 1, 1), (40, 0.2, 6, 2), (40, 0.5, 4, 4), (200, 0.5, 20, 20), (10, 0.01, 1, 1), (10, 0.99, 1, 1)],
)
def test_share_of_the_users_tests_and_no_user_does_both(
    tmp_path: Path, monkeypatch, count: int, share: float, train: int, test: int
):
    monkeypatch.setattr("preprocess.emulator.gestures._record", lambda *_: 0)
    out = emulate_gestures(tmp_path / "out", samples_per_class=count, seed=0, difficulty="hard", test_share=share)
    names = {split: (out / f"trials_to_{split}.txt").read_text().split() for split in ("train", "test")}
    users = {split: {name.split("_")[0] for name in names[split]} for split in names}
    assert (len(users["train"]), len(users["test"])) == (train, test)
    assert not users["train"] & users["test"]
    assert len(set(names["train"] + names["test"])) == len(names["train"] + names["test"]) == count


def test_test_share_reaches_the_samples(hard: Path):
    recordings = find_layout("emulated-gestures", hard).recordings
    samples = [sample for recording in recordings for sample in recording.samples]
    users = {split: {sample.group for sample in samples if sample.split == split} for split in (TRAIN, TEST)}
    assert users == {TRAIN: {"user01"}, TEST: {"user02"}}


def test_command_makes_hard_gestures_and_knows_them_again(tmp_path: Path, capsys):
    out = tmp_path / "out"
    words = ["gestures", "--out", out, "--samples-per-class", 2, "--difficulty", "hard", "--test-share", 0.5]
    assert emulate(*words) == 0
    said, following = capsys.readouterr().out.splitlines()
    assert said.startswith(f"Emulated hard gestures in {out}: 2 recordings, 22 samples, ")
    assert following == f"Next: spikeloom preprocess emulated-gestures --source {out} --timesteps 8 --downsample 4"
    assert emulate(*words) == 0
    assert "(already there)" in capsys.readouterr().out
    for others in (words[:-2], [*words[:-4], "--test-share", 0.5]):
        assert emulate(*others) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "found emulated gestures (--samples-per-class 2 --seed 0 --difficulty hard --test-share 0.5, ver" in line


def test_folder_from_before_is_a_plain_one_with_a_fifth_testing(tmp_path: Path, capsys):
    out = emulate_gestures(tmp_path / "out", samples_per_class=2, seed=0)
    about = json.loads((out / "emulated.json").read_text())
    old = {key: value for key, value in about.items() if key not in ("difficulty", "test_share")}
    (out / "emulated.json").write_text(json.dumps(old, indent=2) + "\n")
    words = ["gestures", "--out", out, "--samples-per-class", 2]
    assert emulate(*words) == 0
    assert "(already there)" in capsys.readouterr().out
    assert emulate(*words, "--difficulty", "hard") == 2
    assert emulate(*words, "--test-share", 0.5) == 2
    found = "found emulated gestures (--samples-per-class 2 --seed 0 --difficulty plain --test-share 0.2, version 1)"
    assert capsys.readouterr().err.count(found) == 2
    assert find_layout("emulated-gestures", out).name == "emulated-gestures"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gestures", "--test-share", 0], "--test-share: expected a fraction between 0 and 1, found 0.0"),
        (["gestures", "--test-share", 1], "--test-share: expected a fraction between 0 and 1, found 1.0"),
        (["gestures", "--test-share", "nan"], "--test-share: expected a fraction between 0 and 1, found nan"),
        (["gestures", "--test-share", "half"], "half"),
        (["gestures", "--difficulty", "medium"], "medium"),
        (
            ["digits", "--difficulty", "hard"],
            "--difficulty: expected with gestures only, found with digits. Leave it out.",
        ),
        (
            ["digits", "--test-share", 0.5],
            "--test-share: expected with gestures and cue only, found with digits. Leave it out.",
        ),
    ],
)
def test_faulty_difficulty_or_share_is_one_line(tmp_path: Path, capsys, words: list[object], message: str):
    assert emulate(*words, "--out", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spikeloom: ") and message in line
    assert not list(tmp_path.iterdir())


def test_faulty_difficulty_or_share_is_refused_in_python_too(tmp_path: Path):
    with pytest.raises(ConfigError, match="difficulty: expected one of plain, hard, found medium"):
        emulate_gestures(tmp_path / "out", samples_per_class=2, seed=0, difficulty="medium")
    with pytest.raises(ConfigError, match=r"test share: expected a share of the users between 0 and 1, found 1\.5"):
        emulate_gestures(tmp_path / "out", samples_per_class=2, seed=0, test_share=1.5)
    assert not list(tmp_path.iterdir())


def test_hard_users_differ_more():
    people = {scene.name: [User.random(np.random.default_rng(k), scene) for k in range(200)] for scene in (PLAIN, HARD)}
    for trait in ("radius", "reach", "x", "y", "tilt"):
        plain, hard = (np.std([getattr(user, trait) for user in people[name]]) for name in ("plain", "hard"))
        assert hard > 1.2 * plain
    # The steepest swipe is still nearer to its own direction than to a slash's.
    assert HARD.tilt + 6 < 22.5


def test_hard_gestures_are_repeated_dim_and_noisy(hard: Path, plain: Path):
    def intervals(folder: Path) -> list[float]:
        recordings = find_layout("emulated-gestures", folder).recordings
        return [(s.end_us - s.start_us) / 1e6 for r in recordings for s in r.samples]  # type: ignore[operator]

    def noise_hz(folder: Path) -> float:
        first = find_layout("emulated-gestures", folder).recordings[0]
        until = first.samples[0].start_us - 100_000  # type: ignore[operator]
        events = np.concatenate([chunk.t for chunk in open_recording(first.path).chunks()])
        return np.count_nonzero(events < until) / (128 * 128 * until / 1e6)

    assert max(intervals(hard)) > 2 * min(intervals(hard)) and max(intervals(plain)) < 2 * min(intervals(plain))
    light = LIGHTS["fluorescent"]
    assert noise_hz(plain) == pytest.approx(PLAIN.shot * light.shot_hz + PLAIN.leak_hz, rel=0.1)
    assert noise_hz(hard) == pytest.approx(HARD.shot * light.shot_hz + HARD.leak_hz, rel=0.1)


def test_passers_cross_the_picture_in_every_direction_dark_or_bright():
    rng = np.random.default_rng(0)
    paths = [random_distractor(rng, 5, 0.4, 300, 2000, 128).poses for _ in range(400)]
    inside = [np.all((poses[:, :2] >= -1) & (poses[:, :2] <= 128), axis=1) for poses in paths]
    assert all(seen.any() for seen in inside) and not all(seen.all() for seen in inside)
    # As often in the picture early as late: run backwards, the films are as likely.
    early, late = (np.mean([seen[half].mean() for seen in inside]) for half in (slice(150), slice(150, None)))
    assert early == pytest.approx(late, rel=0.1)
    ways = np.array([np.sign(poses[-1, :2] - poses[0, :2]) for poses in paths])
    bright = np.array([poses[0, 4] > 0 for poses in paths])
    for which in (ways[:, 0] > 0, ways[:, 1] > 0, bright):
        assert 0.4 < which.mean() < 0.6
    steps = [np.hypot(*np.diff(poses[:, :2], axis=0).T) for poses in paths]
    # In pixels a frame of 2 ms: no more than an edge is wide, and as fast from first to last.
    assert all(step.max() < 1 and np.ptp(step) < 1e-9 for step in steps)


def test_shape_in_front_covers_what_is_behind_it():
    front = Motion("disc", np.array([[30.0, 32, 8, 0, 0.5]]))
    behind = [Motion("square", np.array([[34.0, 32, 12, 0, -0.4]])), Motion("disc", np.array([[10.0, 10, 4, 0, 0.3]]))]
    ((_, frames),) = film(front, 64, 64, behind)
    picture = np.log(frames[0])
    assert picture[32, 30] == pytest.approx(0.5) and picture[32, 41] == pytest.approx(-0.4)
    assert picture[10, 10] == pytest.approx(0.3) and picture[50, 10] == 0
    assert picture.max() == pytest.approx(0.5) and picture.min() == pytest.approx(-0.4)
