"""Splits are fixed, disjoint, keep whole groups together, and never take validation samples from the test set."""

from __future__ import annotations

import numpy as np
import pytest

from preprocess.datasets.splits import Splits, split_samples, title_of_split
from preprocess.errors import ConfigError
from preprocess.store.sample_table import SampleTable


def table(label, *, split=255, index=None, group="") -> SampleTable:
    """A table of one event a sample; scalars hold for all samples."""
    n = len(label)
    if index is None:
        seen: dict[int, int] = {}
        index = []
        for c in label:
            index.append(seen.get(c, 0))
            seen[c] = index[-1] + 1
    return SampleTable.of(
        {
            "label": label,
            "split": np.broadcast_to(split, n),
            "index": index,
            "group": np.broadcast_to(group, n),
            "name": [f"s{i}" for i in range(n)],
            "start_us": np.zeros(n),
            "interval_us": np.tile([0, 1], (n, 1)),
            "crc32": np.zeros(n),
            "offset": np.arange(n + 1),
        }
    )


def cut(samples: SampleTable, split: str, *, name="x", fraction=0.1, selection="validation") -> Splits:
    found = split_samples(samples, name, split, fraction, selection)
    everything = np.concatenate([found.train, found.validation, found.test])
    assert len(np.unique(everything)) == len(everything) == len(samples)
    for part in (found.train, found.validation, found.test):
        assert part.dtype == np.int64 and np.all(np.diff(part) > 0)
    return found


CIFAR = table(np.repeat(np.arange(3), 1000))
OFFICIAL = table(np.tile(np.arange(10), 100), split=np.repeat([0, 1], [900, 100]))


def test_official_split_and_stratified_validation():
    found = cut(OFFICIAL, "official")
    assert found.test.tolist() == list(range(900, 1000))
    assert np.bincount(OFFICIAL.label[found.validation]).tolist() == [9] * 10
    assert found.validation.max() < 900


@pytest.mark.parametrize(("fraction", "per_class"), [(0.1, 9), (0.5, 45), (0.001, 1), (0.9999, 89)])
def test_fraction_is_of_each_class_and_leaves_both_sides(fraction: float, per_class: int):
    found = cut(OFFICIAL, "official", fraction=fraction)
    assert np.bincount(OFFICIAL.label[found.validation]).tolist() == [per_class] * 10


def test_first_900_train():
    found = cut(CIFAR, "first-900-train", selection="paper")
    assert np.all(CIFAR.index[found.test] >= 900) and len(found.test) == 300


def test_first_100_test():
    found = cut(CIFAR, "first-100-test", selection="last")
    assert np.all(CIFAR.index[found.test] < 100) and len(found.test) == 300


def test_random_split_takes_a_tenth_of_each_class_and_is_always_the_same():
    found = cut(CIFAR, "random-0.9")
    assert np.bincount(CIFAR.label[found.test]).tolist() == [100] * 3
    assert np.bincount(CIFAR.label[found.validation]).tolist() == [90] * 3
    np.testing.assert_array_equal(found.test, cut(CIFAR, "random-0.9").test)
    # Fixed by value: another draw would change every published row.
    assert found.test[:4].tolist() == [3, 17, 19, 23]
    assert found.validation[:4].tolist() == [15, 24, 39, 42]


@pytest.mark.parametrize("selection", ["paper", "last"])
def test_selection_without_validation_trains_on_all_of_train(selection: str):
    found = cut(OFFICIAL, "official", selection=selection)
    assert len(found.validation) == 0 and len(found.train) == 900


def gesture(users: int = 29) -> SampleTable:
    user = np.repeat(np.arange(1, users + 1), 11)
    return table(
        np.tile(np.arange(11), users), split=(user > 23).astype(int), group=np.array([f"user{u:02d}" for u in user])
    )


@pytest.mark.parametrize("name", ["dvs-gesture", "dvs-gesture-tonic"])
def test_gesture_users_20_to_23_validate(name: str):
    samples = gesture()
    found = cut(samples, "official", name=name)
    assert set(samples.group[found.validation]) == {"user20", "user21", "user22", "user23"}
    assert set(samples.group[found.test]) == {f"user{u}" for u in range(24, 30)}


def test_elsewhere_whole_users_validate():
    samples = gesture()
    found = cut(samples, "official", name="emulated-gestures")
    held = set(samples.group[found.validation])
    assert len(held) == 2  # of 23, a tenth
    assert not held & set(samples.group[found.train])
    assert len(np.unique(samples.label[found.validation])) == 11


def test_two_users_give_one_to_validation():
    samples = table(np.tile(np.arange(4), 3), split=np.repeat([0, 0, 1], 4), group=np.repeat(["a", "b", "c"], 4))
    found = cut(samples, "official")
    assert len(found.train) == len(found.validation) == 4


def test_recordings_of_one_class_stay_whole_and_every_class_validates():
    label = np.repeat(np.arange(5), 40)
    group = np.array([f"rec{i // 10}" for i in range(200)])
    samples = table(label, split=np.tile(np.repeat([0, 1], [9, 1]), 20), group=group)
    found = cut(samples, "official", fraction=0.25)
    assert not set(group[found.validation]) & set(group[found.train])
    assert np.bincount(label[found.validation]).tolist() == [9] * 5


def test_order_of_the_source_plays_no_part():
    order = np.random.default_rng(0).permutation(len(CIFAR))
    columns = {name: getattr(CIFAR, name)[order] for name in ("label", "split", "index", "group", "name")}
    rest = {name: getattr(CIFAR, name) for name in ("start_us", "interval_us", "crc32", "offset")}
    shuffled = SampleTable.of(columns | rest)
    a, b = cut(CIFAR, "random-0.9"), cut(shuffled, "random-0.9")
    for part in ("train", "validation", "test"):
        assert set(CIFAR.name[getattr(a, part)]) == set(shuffled.name[getattr(b, part)])


def test_one_group_for_all_or_for_each_is_no_group():
    for group in ("user01", np.array([f"image{i}" for i in range(1000)])):
        samples = table(OFFICIAL.label, split=OFFICIAL.split, group=group)
        np.testing.assert_array_equal(cut(samples, "official").validation, cut(OFFICIAL, "official").validation)


@pytest.mark.parametrize(
    ("samples", "split", "message"),
    [
        (CIFAR, "official", "x has no official split. Choose one of first-900-train, first-100-test, random-0.9,"),
        (OFFICIAL, "first-900-train", "first-900-train splits by the number within a class, but in x the official"),
        (CIFAR, "half", "by-group, leave-groups-out, split-in-time, found half."),
        (table([0, 1]), "first-900-train", "expected training and test samples from first-900-train, found 2 and 0"),
        (table([0, 1], split=[0, 1]), "official", "expected training and validation samples, found 1 samples in all"),
        (table([0, 1, 1], split=[0, 1, 255]), "official", "some samples of x belong to no official split"),
    ],
)
def test_a_split_that_does_not_exist_is_told(samples: SampleTable, split: str, message: str):
    with pytest.raises(ConfigError) as error:
        split_samples(samples, "x", split, 0.1, "validation")
    assert message in str(error.value)


def recordings(per_class: int, *, classes: int = 3, windows: int = 20, window_us: int = 100, stride_us: int = 50):
    """Windows of recordings of one class each, every recording on a clock of its own."""
    label = np.repeat(np.arange(classes), per_class * windows)
    recording = np.repeat(np.arange(classes * per_class), windows)
    samples = table(label, group=np.array([f"rec{r}" for r in recording]))
    start = recording * 7919 + np.tile(np.arange(windows), classes * per_class) * stride_us
    columns = {name: getattr(samples, name) for name in vars(samples)}
    return SampleTable.of(columns | {"interval_us": np.stack([start, start + window_us], axis=1)})


def test_by_group_holds_whole_recordings_of_every_class_out():
    samples = recordings(5)
    found = cut(samples, "by-group", fraction=0.25)
    sides = [set(samples.group[part]) for part in (found.train, found.validation, found.test)]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert np.bincount(samples.label[found.test]).tolist() == [20] * 3
    assert np.bincount(samples.label[found.validation]).tolist() == [20] * 3
    np.testing.assert_array_equal(found.test, cut(samples, "by-group").test)


def test_validation_without_a_recording_to_take_says_so():
    with pytest.raises(ConfigError, match="found 60 training samples of 3 recordings in x, of which validation takes"):
        split_samples(recordings(2), "x", "by-group", 0.1, "validation")


def test_by_group_names_the_classes_of_a_single_recording():
    samples = recordings(2)
    lone = SampleTable.of(vars(samples) | {"group": np.where(samples.label == 1, "rec2", samples.group)})
    with pytest.raises(
        ConfigError, match=r"in x these have one: class 1\. Record more, or choose --dataset.split split-in-time"
    ):
        split_samples(lone, "x", "by-group", 0.1, "validation")
    with pytest.raises(ConfigError, match=r"in x these have one: mug\. Record more"):
        split_samples(lone, "x", "by-group", 0.1, "validation", ("box", "mug", "pencil"))


@pytest.mark.parametrize("split", ["random-0.9", "first-900-train", "first-100-test"])
def test_a_split_by_sample_is_refused_where_samples_share_recordings(split: str):
    with pytest.raises(ConfigError, match=r"samples share recordings \('rec0' has 20\).* Choose by-group."):
        split_samples(recordings(5), "x", split, 0.1, "validation")


@pytest.mark.parametrize("stride_us", [25, 50, 100, 300])
@pytest.mark.parametrize("selection", ["validation", "last"])
def test_split_in_time_leaves_a_window_between_training_and_test(stride_us: int, selection: str):
    samples = recordings(1, windows=60, stride_us=stride_us)
    found = split_samples(samples, "x", "split-in-time", 0.2, selection)
    interval = samples.interval_us
    for group in np.unique(samples.group):
        train, validation, test = (
            interval[part[samples.group[part] == group]] for part in (found.train, found.validation, found.test)
        )
        assert len(train) > len(test) > 0
        assert test[:, 0].min() - train[:, 1].max() >= 100
        if selection == "validation":
            assert validation[:, 0].min() - train[:, 1].max() >= 100
            assert test[:, 0].min() - validation[:, 1].max() >= 100
    assert len(found.validation) == 0 or selection == "validation"


def test_split_in_time_says_that_recordings_are_shared():
    assert title_of_split("split-in-time") == "split-in-time (same-recording)"
    assert title_of_split("by-group") == "by-group"


@pytest.mark.parametrize("split", ["by-group", "split-in-time"])
def test_an_official_split_is_not_passed_over(split: str):
    with pytest.raises(ConfigError, match=f"{split} applies to recordings without an official split, but x has one"):
        split_samples(OFFICIAL, "x", split, 0.1, "validation")
