"""Folds of whole groups test each group once; drawn splits have other draws, and draw 0 is that of earlier versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_datasets import digits, gestures, objects  # noqa: F401  (fixtures)
from test_splits import CIFAR, OFFICIAL, gesture, recordings, table

from preprocess.building.build_event_store import build_event_store
from preprocess.datasets import find_layout
from preprocess.datasets.splits import SPLIT_RULES, Resampling, Splits, split_samples, title_of_split
from preprocess.errors import ConfigError
from preprocess.store.event_store import open_events
from preprocess.store.sample_table import SampleTable

rng = np.random.default_rng(1)
PEOPLE = np.repeat([f"p{k}" for k in range(59)], 19)
SPEAKERS = rng.integers(1, 13, 400)
UNEVEN = np.repeat(np.arange(30), rng.integers(1, 40, 30))

# Samples and groups of the shapes that data sets have.
TABLES = {
    "dvs-gesture, users with an official split": gesture(),
    "sl-animals, people without a split": table(np.tile(np.arange(19), 59), group=PEOPLE),
    "shd, speakers in both parts": table(
        rng.integers(0, 20, 400), split=(SPEAKERS > 9).astype(int), group=np.array([f"speaker {k}" for k in SPEAKERS])
    ),
    "own folder, windows of recordings": recordings(6),
    "uneven recordings": table(UNEVEN % 3, group=np.array([f"r{k}" for k in UNEVEN])),
    "n-mnist, each recording its own group": table(
        OFFICIAL.label, split=OFFICIAL.split, group=np.array([f"image{k}" for k in range(1000)])
    ),
    "cifar10, no groups": OFFICIAL,
}  # fmt: skip


def fold(samples: SampleTable, k: int, folds: int = 5, *, seed: int = 0, selection: str = "last", name="x") -> Splits:
    drawn = Resampling(seed, k, folds)
    return split_samples(samples, name, "leave-groups-out", 0.2, selection, resampling=drawn)


def check_folds(samples: SampleTable, folds: int, seed: int = 0) -> None:
    """The contract of leave-groups-out, with and without validation samples."""
    tested: list[int] = []
    for k in range(folds):
        for selection in ("last", "validation"):
            found = fold(samples, k, folds, seed=seed, selection=selection)
            parts = (found.train, found.validation, found.test)
            assert sorted(np.concatenate(parts).tolist()) == list(range(len(samples)))
            groups = [set(samples.group[part]) - {""} for part in parts]
            assert not groups[0] & groups[2] and not groups[1] & groups[2]
            if max(np.unique(samples.group, return_counts=True)[1]) > 1 and len(groups[0]) > 1:
                assert not groups[0] & groups[1]
            assert len(found.test) and (selection == "last") == (not len(found.validation))
        tested += found.test.tolist()
    assert sorted(tested) == list(range(len(samples)))


@pytest.mark.parametrize("folds", [2, 5])
@pytest.mark.parametrize("name", TABLES)
def test_over_the_folds_every_group_is_tested_exactly_once(name: str, folds: int):
    check_folds(TABLES[name], folds)
    check_folds(TABLES[name], folds, seed=3)


@pytest.mark.parametrize("name", TABLES)
def test_folds_are_of_about_equal_size_and_stratified_where_groups_have_one_class(name: str):
    samples = TABLES[name]
    sizes = [len(fold(samples, k).test) for k in range(5)]
    largest = int(np.unique(samples.group, return_counts=True)[1].max()) if samples.group[0] else 1
    assert max(sizes) - min(sizes) <= largest
    if name.startswith(("n-mnist", "cifar10")):
        assert all(np.bincount(samples.label[fold(samples, k).test]).tolist() == [20] * 10 for k in range(5))


@pytest.mark.parametrize("dataset", ["dvs-gesture", "cifar10-dvs", "n-mnist"])
def test_built_caches_keep_the_contract(dataset: str, request: pytest.FixtureRequest, tmp_path: Path):
    source = request.getfixturevalue(
        {"dvs-gesture": "gestures", "cifar10-dvs": "objects", "n-mnist": "digits"}[dataset]
    )
    samples = open_events(build_event_store(find_layout(dataset, source), tmp_path)).samples
    groups = np.unique(samples.group)
    if any(len(np.unique(samples.group[samples.label == c])) < 2 for c in np.unique(samples.label)):
        # A class of one recording only cannot be trained and tested.
        with pytest.raises(ConfigError, match="needs two groups"):
            fold(samples, 0, 2)
        samples = SampleTable.of(vars(samples) | {"label": np.zeros(len(samples), np.int64)})
    check_folds(samples, len(groups))


def test_folds_do_not_depend_on_the_order_of_the_source():
    samples = gesture()
    order = np.random.default_rng(0).permutation(len(samples))
    columns = {name: getattr(samples, name)[order] for name in ("label", "split", "index", "group", "name")}
    shuffled = SampleTable.of(vars(samples) | columns)
    for k in range(3):
        assert set(samples.name[fold(samples, k).test]) == set(shuffled.name[fold(shuffled, k).test])


def test_folds_are_fixed_and_another_seed_divides_the_groups_differently():
    samples = gesture()
    users = [sorted(set(samples.group[fold(samples, k).test])) for k in range(5)]
    # Fixed by value: another division would change finished comparisons.
    assert users[0] == ["user03", "user06", "user19", "user21", "user26", "user27"]
    assert users[0] != sorted(set(samples.group[fold(samples, 0, seed=1).test]))


def test_official_validation_users_play_no_part_in_folds():
    """With user folds, the users 20 to 23 may be tested."""
    samples = gesture(23)
    found = fold(samples, 0, selection="validation", name="dvs-gesture")
    assert set(samples.group[found.validation]) != {"user20", "user21", "user22", "user23"}


@pytest.mark.parametrize(
    ("samples", "folds", "message"),
    [
        (recordings(1), 2, r"leave-groups-out needs two groups .* in x fold \d has all samples of class \d"),
        (recordings(2), 7, "dataset.folds: expected at most 6, the number of groups .* in x, found 7"),
        (table([0, 1, 0, 1], group="all"), 2, "all samples of x belong to one, which cannot be divided"),
    ],
)
def test_folds_that_cannot_be_are_refused_in_every_fold(samples: SampleTable, folds: int, message: str):
    for k in (0, folds - 1):
        with pytest.raises(ConfigError, match=message):
            fold(samples, k, folds)


@pytest.mark.parametrize(
    ("samples", "split"), [(CIFAR, "random-0.9"), (recordings(6), "by-group"), (gesture(), "leave-groups-out")]
)
def test_another_seed_of_the_split_draws_other_test_samples(samples: SampleTable, split: str):
    drawn = [split_samples(samples, "x", split, 0.1, "last", resampling=Resampling(k)).test for k in (0, 1, 2, 1)]
    assert np.array_equal(drawn[0], split_samples(samples, "x", split, 0.1, "last").test)
    assert np.array_equal(drawn[1], drawn[3])
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], drawn[2])
    if split == "random-0.9":
        assert np.bincount(samples.label[drawn[1]]).tolist() == [100] * 3


@pytest.mark.parametrize("split", SPLIT_RULES)
def test_a_split_refuses_what_it_would_ignore(split: str):
    """Otherwise three folds of one fixed split would be three equal runs that count as repetitions."""
    rule = SPLIT_RULES[split]
    assert (not list(Resampling(seed=1).errors(split))) == rule.seeded
    assert (not list(Resampling(fold=1).errors(split))) == rule.in_folds
    assert (not list(Resampling(folds=3).errors(split))) == rule.in_folds
    assert not list(Resampling().errors(split))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Resampling(fold=5), "dataset.fold: expected 0 to 4 with dataset.folds 5, found 5"),
        (Resampling(fold=-1), "dataset.fold: expected 0 to 4 with dataset.folds 5, found -1"),
        (Resampling(folds=1), "dataset.folds: expected at least 2, found 1"),
        (Resampling(seed=-1), "dataset.split_seed: expected 0 to 4294967295, found -1"),
    ],
)
def test_values_out_of_range(given: Resampling, message: str):
    assert list(given.errors("leave-groups-out")) == [message]


def test_the_title_names_folds_and_draws():
    assert title_of_split("leave-groups-out", [Resampling(fold=1)]) == "leave-groups-out (fold 1 of 5)"
    two = [Resampling(2, 0), Resampling(2, 3)]
    assert title_of_split("leave-groups-out", two) == "leave-groups-out (folds 0, 3 of 5, split seed 2)"
    assert title_of_split("random-0.9", [Resampling(0), Resampling(4)]) == "random-0.9 (split seeds 0, 4)"
    assert title_of_split("random-0.9") == "random-0.9" and title_of_split("official") == "official"
