"""Answers of several runs are brought to one order, and runs of other samples are refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_layout import random_events, tiny_layout

from preprocess.building.build_event_store import build_event_store
from preprocess.errors import CacheError, RunError
from tune.comparison.sample_predictions import read_correct, read_groups

NAMES = np.array(["user24_led/wave_0", "user24_led/clap_0", "sämple", "user25_lab/wave_0"])
LABELS = np.array([0, 1, 2, 0])


def write(folder: Path, predicted: list[int], *, order: list[int] | None = None, **columns: object) -> Path:
    """A run folder that answered so, its samples in some order."""
    folder.mkdir()
    order = [0, 1, 2, 3] if order is None else order
    held: dict[str, object] = {
        "name": NAMES[order],
        "label": LABELS[order],
        "logits": np.eye(3, dtype=np.float32)[predicted][order],
    }
    np.savez_compressed(folder / "predictions.npz", **(held | columns))  # type: ignore[arg-type]
    return folder


def test_right_is_where_the_largest_logit_is_the_label(tmp_path: Path):
    runs = [write(tmp_path / "a", [0, 1, 0, 2]), write(tmp_path / "b", [0, 0, 2, 0])]
    right, names, labels = read_correct(runs)
    assert right.tolist() == [[True, True, False, False], [True, False, True, True]]
    assert right.dtype == np.bool_
    assert names.tolist() == NAMES.tolist()
    assert labels.tolist() == LABELS.tolist()


def test_samples_of_every_run_come_in_the_order_of_the_first(tmp_path: Path):
    runs = [
        write(tmp_path / "a", [0, 1, 0, 2], order=[2, 0, 3, 1]),
        write(tmp_path / "b", [0, 0, 2, 0], order=[1, 3, 2, 0]),
    ]
    right, names, labels = read_correct(runs)
    assert names.tolist() == NAMES[[2, 0, 3, 1]].tolist()
    assert labels.tolist() == LABELS[[2, 0, 3, 1]].tolist()
    assert right.tolist() == [[False, True, False, True], [True, True, True, False]]


def test_runs_of_other_samples_are_refused(tmp_path: Path):
    first = write(tmp_path / "a", [0, 1, 0, 2])
    fewer = write(tmp_path / "b", [0, 1, 0, 2], order=[0, 1, 2])
    other = write(tmp_path / "c", [0, 1, 0, 2], name=np.array(["x", *NAMES[1:]]))
    with pytest.raises(RunError) as error:
        read_correct([first, fewer])
    assert str(error.value) == (
        f"{fewer}: expected the 4 test samples of {first}, found 3: it lacks 1, such as 'user25_lab/wave_0'. "
        "Compare runs of one data set and split."
    )
    with pytest.raises(
        RunError, match="found 4: it lacks 1, such as 'user24_led/wave_0' and has 1 others, such as 'x'"
    ):
        read_correct([first, other])


def test_runs_of_other_labels_are_refused(tmp_path: Path):
    first = write(tmp_path / "a", [0, 1, 0, 2])
    other = write(tmp_path / "b", [0, 1, 0, 2], label=np.array([0, 1, 1, 0]))
    with pytest.raises(RunError) as error:
        read_correct([first, other])
    assert str(error.value) == (
        f"{other}: expected the labels of {first}, found 1 others, such as 1 instead of 2 for 'sämple'. "
        "Compare runs of one cache."
    )


def test_a_sample_that_stands_twice_is_refused(tmp_path: Path):
    folder = write(tmp_path / "a", [0, 1, 0, 2], name=NAMES[[0, 1, 2, 2]])
    with pytest.raises(RunError, match="expected every test sample once, found 'sämple' 2 times"):
        read_correct([folder])


def test_missing_and_damaged_predictions_name_the_file(tmp_path: Path):
    with pytest.raises(RunError, match="expected at least one run with predictions, found none"):
        read_correct([])
    (tmp_path / "none").mkdir()
    with pytest.raises(RunError, match=r"none/predictions.npz: expected predictions of a finished run, found no file"):
        read_correct([tmp_path / "none"])
    cut = write(tmp_path / "cut", [0, 1, 0, 2]) / "predictions.npz"
    cut.write_bytes(cut.read_bytes()[:100])
    with pytest.raises(RunError, match=r"cut/predictions.npz: cannot be read \(.*Write it again: spikeloom evaluate"):
        read_correct([cut.parent])
    for name, columns in {"flat": {"logits": np.zeros(4)}, "words": {"label": np.array(["a", "b", "c", "d"])}}.items():
        with pytest.raises(RunError, match=rf"{name}/predictions.npz: cannot be read"):
            read_correct([write(tmp_path / name, [0, 1, 0, 2], **columns)])
    with pytest.raises(
        RunError, match=r"expected a name, a label and logits .*found shapes \(4,\), \(3,\) and \(4, 3\)"
    ):
        read_correct([write(tmp_path / "short", [0, 1, 0, 2], label=LABELS[:3])])


def test_flipped_bits_are_refused_or_change_nothing(tmp_path: Path):
    folder = write(tmp_path / "a", [0, 1, 0, 2])
    whole = read_correct([folder])
    path = folder / "predictions.npz"
    content = path.read_bytes()
    refused = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        try:
            found = read_correct([folder])
        except RunError:
            refused += 1
        else:
            assert all(np.array_equal(one, other) for one, other in zip(found, whole, strict=True)), place
    assert refused > len(content) / 2


def make_store(folder: Path, groups: list[str]) -> Path:
    """A cache folder with the event store `tiny` of samples in these groups."""
    layout = tiny_layout(folder / "source", [random_events(seed, 50) for seed in range(len(groups))])
    recordings = tuple(
        replace(recording, samples=tuple(replace(sample, group=group) for sample in recording.samples))
        for recording, group in zip(layout.recordings, groups, strict=True)
    )
    build_event_store(replace(layout, recordings=recordings), folder / "cache")  # type: ignore[arg-type]
    return folder / "cache"


def test_groups_are_the_event_stores_in_the_order_asked_for(tmp_path: Path):
    cache = make_store(tmp_path, ["user1", "user2", "user1", "user3", "user2"])
    groups = read_groups(cache, "tiny", np.array(["sämple4", "sämple0", "sämple2"]))
    assert groups is not None
    assert groups.tolist() == ["user2", "user1", "user1"]


def test_samples_that_are_each_their_own_group_have_none(tmp_path: Path):
    cache = make_store(tmp_path, ["user1", "user2", "user1", "user3", "user2"])
    assert read_groups(cache, "tiny", np.array(["sämple0", "sämple1", "sämple3"])) is None


def test_samples_without_a_group_are_their_own(tmp_path: Path):
    cache = make_store(tmp_path, ["", "", "sämple0", "sämple0", ""])
    groups = read_groups(cache, "tiny", np.array([f"sämple{i}" for i in range(5)]))
    assert groups is not None
    assert len(set(groups.tolist())) == 4
    assert groups[2] == groups[3]
    assert read_groups(cache, "tiny", np.array(["sämple0", "sämple1", "sämple4"])) is None


def test_a_cache_without_the_samples_is_refused(tmp_path: Path):
    cache = make_store(tmp_path, ["user1", "user1"])
    with pytest.raises(CacheError) as error:
        read_groups(cache, "tiny", np.array(["sämple1", "sämple10", "zzz"]))
    assert str(error.value) == (
        f"{cache / 'tiny' / 'events.h5'}: expected the 3 test samples of the runs, found 2 of them missing, such as "
        "'sämple10'. Give the cache that the runs were trained from."
    )
    with pytest.raises(CacheError, match="expected an event store, found no such file"):
        read_groups(cache, "other", np.array(["sämple1"]))
