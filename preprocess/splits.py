"""Which samples train, which select, which test: computed at load time, so they never need another cache.

Every split has its own fixed seed, independent of a run's: two runs of different seeds see the same samples.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import ConfigError
from preprocess.samples import NO_SPLIT, TEST, TRAIN, SampleTable

SPLITS = ("official", "first-900-train", "first-100-test", "random-0.9")

_RANDOM_SPLIT_SEED = 900
_VALIDATION_SEED = 100

# DVS128-Gesture's official training users are 1 to 23; its last four select.
_GESTURE_VALIDATION_USERS = frozenset({20, 21, 22, 23})


@dataclass(frozen=True, eq=False)
class Splits:
    """Sample numbers, int64, ascending; no sample is in two of them.

    Attributes:
        train: What weights are fitted to.
        validation: Held out of the training samples for selection; empty where nothing selects.
        test: Opened once, after training.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_samples(
    samples: SampleTable, dataset_name: str, split: str, validation_fraction: float, selection: str
) -> Splits:
    """Cut a data set into training, validation and test samples.

    Args:
        samples: The cache's table.
        dataset_name: The cache's name; of ``dvs-gesture`` caches users 20 to 23 validate.
        split: ``official``, or for data sets without one: ``first-900-train`` (per class indices 0 to 899 train),
            ``first-100-test`` (indices 0 to 99 test) or ``random-0.9`` (per class, seeded).
        validation_fraction: Share of the training samples that validates, in (0, 1): whole groups where the data set
            has groups, else stratified by class.
        selection: ``validation``; ``paper`` and ``last`` train on all training samples.

    Raises:
        ConfigError: If the split does not exist for this data set or leaves a part empty.
    """
    test = _is_test(samples, dataset_name, split)
    train = np.flatnonzero(~test)
    if len(train) == 0 or not test.any():
        raise ConfigError(
            f"dataset.split: expected training and test samples from {split}, found {len(train)} and "
            f"{int(test.sum())} in {dataset_name}. Choose another of {', '.join(SPLITS)}."
        )
    validates = np.zeros(len(train), bool)
    if selection == "validation":
        validates = _validates(samples, train, dataset_name, validation_fraction)
        if validates.all() or not validates.any():
            raise ConfigError(
                f"dataset.validation_fraction: expected training and validation samples, found {len(train)} samples "
                f"in all in {dataset_name}. Add samples, or choose --selection last."
            )
    return Splits(train[~validates], train[validates], np.flatnonzero(test))


def _is_test(samples: SampleTable, name: str, split: str) -> NDArray[np.bool_]:
    has_official = bool(np.any(samples.split != NO_SPLIT))
    if split == "official":
        if not has_official:
            others = ", ".join(SPLITS[1:])
            raise ConfigError(f"dataset.split: {name} has no official split. Choose one of {others}.")
        if np.any(samples.split == NO_SPLIT):
            raise ConfigError(f"dataset.split: some samples of {name} belong to no official split. Preprocess again.")
        return np.asarray(samples.split == TEST)
    if split == "random-0.9":
        return _share_of_each(samples, np.arange(len(samples)), 0.1, _RANDOM_SPLIT_SEED)
    if split not in SPLITS:
        raise ConfigError(f"dataset.split: expected one of {', '.join(SPLITS)}, found {split}.")
    if has_official:
        raise ConfigError(
            f"dataset.split: {split} goes by the number within a class, and in {name} the official training and test "
            "samples are numbered apart. Choose official or random-0.9."
        )
    return np.asarray(samples.index >= 900 if split == "first-900-train" else samples.index < 100)


def _validates(samples: SampleTable, train: NDArray[np.int64], name: str, fraction: float) -> NDArray[np.bool_]:
    """Which of the training samples validate."""
    group, label = samples.group[train], samples.label[train]
    if name.startswith("dvs-gesture") and np.all(samples.split[train] == TRAIN):
        users = np.array([_user(g) in _GESTURE_VALIDATION_USERS for g in group])
        if users.any() and not users.all():
            return users
    groups, first, counts = np.unique(group, return_index=True, return_counts=True)
    if len(groups) == 1 or counts.max() == 1:
        # One group, or one for each sample: nothing that whole groups would keep together.
        return _share_of_each(samples, train, fraction, _VALIDATION_SEED)
    if all(len(np.unique(label[group == g])) == 1 for g in groups):
        return _whole_groups_of_each_class(group, label, groups, first, counts, fraction)
    return np.isin(group, _whole_groups(groups, counts, fraction, _VALIDATION_SEED))


def _user(group: str) -> int | None:
    number = re.search(r"\d+", group)
    return int(number.group()) if number else None


def _share_of_each(
    samples: SampleTable, chosen: NDArray[np.int64], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """A seeded share of each class of the chosen samples: at least one, never all."""
    label, index, name = samples.label[chosen], samples.index[chosen], samples.name[chosen]
    drawn = np.zeros(len(chosen), bool)
    for c in np.unique(label):
        members = np.flatnonzero(label == c)
        # By number and name, so that the order of the source plays no part.
        members = members[np.lexsort((name[members], index[members]))]
        order = np.random.default_rng([seed, int(c)]).permutation(len(members))
        count = min(len(members) - 1, max(1, round(fraction * len(members))))
        drawn[members[order[:count]]] = True
    return drawn


def _whole_groups(groups: NDArray[np.str_], counts: NDArray[np.int64], fraction: float, seed: int) -> list[str]:
    """Groups in a seeded order until their samples reach the share; at least one, never all."""
    wanted = fraction * int(counts.sum())
    chosen: list[str] = []
    held = 0
    for k in np.random.default_rng(seed).permutation(len(groups))[:-1]:
        if chosen and held + int(counts[k]) / 2 > wanted:
            break
        chosen.append(str(groups[k]))
        held += int(counts[k])
    return chosen


def _whole_groups_of_each_class(
    group: NDArray[np.str_],
    label: NDArray[np.int64],
    groups: NDArray[np.str_],
    first: NDArray[np.int64],
    counts: NDArray[np.int64],
    fraction: float,
) -> NDArray[np.bool_]:
    """Where each group lies within one class: whole groups, class by class; a class of one group only trains."""
    chosen: list[str] = []
    for c in np.unique(label):
        of_class = label[first] == c
        chosen += _whole_groups(groups[of_class], counts[of_class], fraction, _VALIDATION_SEED + int(c))
    return np.isin(group, chosen)
