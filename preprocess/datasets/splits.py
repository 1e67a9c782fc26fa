"""The training, validation and test samples: computed at load time, so that a split never needs another cache.

No split depends on the seed of a run: runs with different seeds use the same samples. Splits that can be drawn again
have a seed of their own, and splits into folds a fold (`Resampling`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from preprocess.datasets.group_folds import fold_of_samples
from preprocess.datasets.registry import validation_users
from preprocess.errors import ConfigError
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN, SampleTable

SplitName = Literal[
    "official", "first-900-train", "first-100-test", "random-0.9", "by-group", "leave-groups-out", "split-in-time"
]


@dataclass(frozen=True)
class SplitRule:
    """A rule that selects the test samples.

    Attributes:
        summary: Readable description of the test samples.
        official: Whether the split comes with the data set; data sets without an official split need another rule.
        test_share: Fraction of the samples of each class in the test split; None if it depends on the data set.
        same_recording: Whether training and test samples come from the same recordings, as near copies of each other.
        seeded: Whether the test samples are drawn, so that another `Resampling.seed` draws others.
        in_folds: Whether it divides all samples into folds, of which one is tested.
    """

    summary: str
    official: bool = False
    test_share: float | None = None
    same_recording: bool = False
    seeded: bool = False
    in_folds: bool = False


@dataclass(frozen=True)
class Resampling:
    """Which of several splits of one kind is used.

    Attributes:
        seed: The draw of the test samples; 0 is the fixed draw of earlier versions.
        fold: The fold that is tested, 0 to folds - 1.
        folds: The number of folds.
    """

    seed: int = 0
    fold: int = 0
    folds: int = 5

    def errors(self, split: str) -> Iterator[str]:
        """A line for every field of `dataset` that is out of range, or that the split would ignore.

        Ignored values are refused: runs that differ only in them are the same run, not repetitions.
        """
        if split not in SPLITS:
            return
        rule = SPLIT_RULES[split]
        for field, value, default, applies in (
            ("split_seed", self.seed, 0, "seeded"),
            ("fold", self.fold, 0, "in_folds"),
            ("folds", self.folds, 5, "in_folds"),
        ):
            if value != default and not getattr(rule, applies):
                others = ", ".join(name for name, other in SPLIT_RULES.items() if getattr(other, applies))
                yield (
                    f"dataset.{field}: expected {default} with dataset.split {split}, which does not use it, found "
                    f"{value}. Splits that use it: {others}."
                )
        if not 0 <= self.seed < _SEEDS:
            yield f"dataset.split_seed: expected 0 to {_SEEDS - 1}, found {self.seed}"
        if self.folds < 2:
            yield f"dataset.folds: expected at least 2, found {self.folds}"
        elif not 0 <= self.fold < self.folds:
            yield f"dataset.fold: expected 0 to {self.folds - 1} with dataset.folds {self.folds}, found {self.fold}"


SPLIT_RULES: dict[SplitName, SplitRule] = {
    "official": SplitRule("the split that comes with the data set", official=True),
    "first-900-train": SplitRule("training on indices 0 to 899 of each class", test_share=0.1),
    "first-100-test": SplitRule("test on indices 0 to 99 of each class", test_share=0.1),
    "random-0.9": SplitRule("test on a random tenth of each class (fixed seed)", test_share=0.1, seeded=True),
    "by-group": SplitRule("test on a fifth of the recordings or subjects", seeded=True),
    "leave-groups-out": SplitRule("test on one fold of the recordings or subjects", seeded=True, in_folds=True),
    "split-in-time": SplitRule("test on the last fifth of each recording", same_recording=True),
}
"""Every split by name. The fractions of first-900-train and first-100-test assume 1,000 samples per class."""

SPLITS: tuple[SplitName, ...] = tuple(SPLIT_RULES)

_RANDOM_SPLIT_SEED = 900
_GROUP_SPLIT_SEED = 200
_TEST_SHARE_OF_GROUPS = 0.2
_TEST_SHARE_OF_TIME = 0.2
_VALIDATION_SEED = 100
_MOST_LABELS = 12
_SEEDS = 1 << 32
_FIXED = Resampling()


@dataclass(frozen=True, eq=False)
class Splits:
    """Sample numbers of each part, int64, ascending and disjoint; only a split in time leaves samples out.

    Attributes:
        train: Samples to fit the weights.
        validation: Training samples held out for model selection; empty without selection.
        test: Samples that are evaluated once, after training.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def title_of_split(split: str, draws: Sequence[Resampling] = (_FIXED,)) -> str:
    """Return the name of a split for tables, such as ``leave-groups-out (folds 0, 1 of 5)``.

    Args:
        split: The name of the split, which is marked if training and test samples share recordings.
        draws: Which of the splits of this kind were used; the seed is shown unless it is 0.
    """
    parts = ["same-recording"] if shares_recordings(split) else []
    if in_folds(split):
        parts.append(f"{_numbered('fold', [draw.fold for draw in draws])} of {_once(draw.folds for draw in draws)}")
    if any(draw.seed for draw in draws):
        parts.append(_numbered("split seed", [draw.seed for draw in draws]))
    return f"{split} ({', '.join(parts)})" if parts else split


def _numbered(noun: str, values: Sequence[int]) -> str:
    listed = _once(values)
    return f"{noun}{'s' if ',' in listed else ''} {listed}"


def _once(values: Iterable[int]) -> str:
    return ", ".join(map(str, dict.fromkeys(values)))


def shares_recordings(split: str) -> bool:
    """Whether training and test samples of a split come from the same recordings; False for an unknown name."""
    return split in SPLITS and SPLIT_RULES[split].same_recording


def in_folds(split: str) -> bool:
    """Whether a split divides all samples into folds, whatever the official split; False for an unknown name."""
    return split in SPLITS and SPLIT_RULES[split].in_folds


def split_samples(
    samples: SampleTable,
    dataset_name: str,
    split: str,
    validation_fraction: float,
    selection: str,
    classes: Sequence[str] = (),
    *,
    needs_test: bool = True,
    resampling: Resampling = _FIXED,
) -> Splits:
    """Divide a data set into training, validation and test samples.

    Args:
        samples: The sample table of the cache.
        dataset_name: The name of the cache; some data sets define their validation users.
        split: ``official``, or for data sets without one: ``first-900-train`` (per class indices 0 to 899 train),
            ``first-100-test`` (indices 0 to 99 test), ``random-0.9`` (per class, seeded), ``by-group`` (a fifth of the
            samples of each class in whole groups, seeded) or ``split-in-time`` (the last fifth of the time of
            each group and class; samples nearer to the training samples than the longest sample are left out).
            ``leave-groups-out`` tests one fold of whole groups of any data set, whatever its official split.
        validation_fraction: Fraction of the training samples used for validation, in (0, 1): complete groups if the
            data set has groups, else stratified by class.
        selection: ``validation``; ``paper`` and ``last`` train on all training samples.
        classes: Names of the classes, for errors.
        needs_test: Whether an official split without test samples is an error.
        resampling: Which draw of a seeded split, and which fold of a split in folds, is tested.

    Raises:
        ConfigError: If the split does not exist for this data set or leaves a part empty.
    """
    left_out = np.zeros(len(samples), bool)
    if split == "split-in-time":
        _refuse_official(samples, dataset_name, split)
        before, test = _in_time(samples, np.arange(len(samples)), _TEST_SHARE_OF_TIME)
        left_out = ~before & ~test
    else:
        test = _is_test(samples, dataset_name, split, classes, resampling)
    train = np.flatnonzero(~test & ~left_out)
    if len(train) and split == "official" and not test.any():
        if needs_test:
            raise ConfigError(
                f"dataset.split: expected a test split, found only the {len(train):,} samples of the official training "
                f"split in {dataset_name}. Preprocess the test recordings as well, or choose random-0.9."
            )
    elif len(train) == 0 or not test.any():
        raise ConfigError(
            f"dataset.split: expected training and test samples from {split}, found {len(train)} and "
            f"{int(test.sum())} in {dataset_name}. Choose another of {', '.join(SPLITS)}."
        )
    trains, validates = np.ones(len(train), bool), np.zeros(len(train), bool)
    if selection == "validation":
        if split == "split-in-time":
            trains, validates = _in_time(samples, train, validation_fraction)
        else:
            named = () if in_folds(split) else validation_users(dataset_name)
            validates = _validates(samples, train, named, validation_fraction)
            trains = ~validates
        if not trains.any() or not validates.any():
            groups = len(np.unique(samples.group[train]))
            # Samples without groups all have an empty name of one.
            found = f"{len(train)} samples in all in {dataset_name}. Add samples"
            if groups < len(train) and np.all(samples.group[train] != ""):
                found = (
                    f"{len(train)} training samples of {groups} recordings in {dataset_name}, of which validation "
                    "takes whole ones. Add recordings of each class"
                )
            raise ConfigError(
                f"dataset.validation_fraction: expected training and validation samples, found {found}, or choose "
                "--selection last."
            )
    return Splits(train[trains], train[validates], np.flatnonzero(test))


def _is_test(
    samples: SampleTable, name: str, split: str, classes: Sequence[str], resampling: Resampling
) -> NDArray[np.bool_]:
    has_official = bool(np.any(samples.split != NO_SPLIT))
    if split == "official":
        if not has_official:
            others = ", ".join(name for name, rule in SPLIT_RULES.items() if not rule.official)
            raise ConfigError(f"dataset.split: {name} has no official split. Choose one of {others}.")
        if np.any(samples.split == NO_SPLIT):
            raise ConfigError(f"dataset.split: some samples of {name} belong to no official split. Preprocess again.")
        return np.asarray(samples.split == TEST)
    if split not in SPLITS:
        raise ConfigError(f"dataset.split: expected one of {', '.join(SPLITS)}, found {split}.")
    if split == "leave-groups-out":
        return np.asarray(fold_of_samples(samples, name, resampling.folds, resampling.seed) == resampling.fold)
    if split == "by-group":
        _refuse_official(samples, name, split)
        return _by_group(samples, name, classes, resampling.seed)
    if not has_official:
        _refuse_shared_groups(samples, name, split)
    if split == "random-0.9":
        return _share_of_each(samples, np.arange(len(samples)), 0.1, _RANDOM_SPLIT_SEED, resampling.seed)
    if has_official:
        raise ConfigError(
            f"dataset.split: {split} splits by the number within a class, but in {name} the official training and test "
            "samples are numbered separately. Choose official or random-0.9."
        )
    return np.asarray(samples.index >= 900 if split == "first-900-train" else samples.index < 100)


def _refuse_official(samples: SampleTable, name: str, split: str) -> None:
    if np.any(samples.split != NO_SPLIT):
        raise ConfigError(
            f"dataset.split: {split} applies to recordings without an official split, but {name} has one. "
            "Choose official."
        )


def _refuse_shared_groups(samples: SampleTable, name: str, split: str) -> None:
    """Windows of one recording are near copies of each other: a split by sample would test on training data."""
    groups, counts = np.unique(samples.group[samples.group != ""], return_counts=True)
    if len(groups) > 1 and counts.max() > 1:
        most = groups[counts.argmax()]
        raise ConfigError(
            f"dataset.split: {split} splits by sample, but in {name} samples share recordings ('{most}' has "
            f"{counts.max()}), which would be in training and test. Choose by-group."
        )


def _by_group(samples: SampleTable, name: str, classes: Sequence[str], draw: int) -> NDArray[np.bool_]:
    """The test samples: complete groups, class by class if every group belongs to one class."""
    group, label = samples.group, samples.label
    single = [int(c) for c in np.unique(label) if len(np.unique(group[label == c])) == 1]
    if single:
        raise ConfigError(
            f"dataset.split: by-group needs two groups (recordings) of every class, but in {name} these have one: "
            f"{_listed(single, classes)}. Record more, or choose --dataset.split split-in-time, which tests on the "
            "recordings it trains on."
        )
    groups, first, counts = np.unique(group, return_index=True, return_counts=True)
    chosen: list[str] = []
    if all(len(np.unique(label[group == g])) == 1 for g in groups):
        for c in np.unique(label):
            of_class = label[first] == c
            seed = _GROUP_SPLIT_SEED + int(c)
            chosen += _whole_groups(groups[of_class], counts[of_class], _TEST_SHARE_OF_GROUPS, seed, draw)
    else:
        chosen = _whole_groups(groups, counts, _TEST_SHARE_OF_GROUPS, _GROUP_SPLIT_SEED, draw)
    return np.isin(group, chosen)


def _listed(labels: list[int], classes: Sequence[str]) -> str:
    shown = ", ".join(classes[label] if label < len(classes) else f"class {label}" for label in labels[:_MOST_LABELS])
    return shown + (f" and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else "")


def _in_time(
    samples: SampleTable, chosen: NDArray[np.int64], share: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Divide the chosen samples of each group and class into those before and those after a gap.

    The gap begins after the first 1 - share of their time, and is as long as the longest of them. Samples that overlap
    the gap are in neither part. If no sample is after the gap, all samples of the group and class are before it.
    """
    before, after = np.zeros(len(chosen), bool), np.zeros(len(chosen), bool)
    start, end = samples.interval_us[chosen, 0], samples.interval_us[chosen, 1]
    keys = np.stack([np.unique(samples.group[chosen], return_inverse=True)[1], samples.label[chosen]])
    for key in np.unique(keys, axis=1).T:
        own = np.all(keys == key[:, None], axis=0)
        first, last = int(start[own].min()), int(end[own].max())
        gap_from = first + round((1 - share) * (last - first))
        gap_to = gap_from + int((end[own] - start[own]).max())
        ends, begins = own & (end <= gap_from), own & (start >= gap_to)
        if ends.any() and begins.any():
            before |= ends
            after |= begins
        else:
            before |= own
    return before, after


def _validates(
    samples: SampleTable, train: NDArray[np.int64], chosen: Collection[int], fraction: float
) -> NDArray[np.bool_]:
    """Mask of the training samples that are used for validation: those of the chosen users, if they are known."""
    group, label = samples.group[train], samples.label[train]
    if chosen and np.all(samples.split[train] == TRAIN):
        users = np.array([_user(g) in chosen for g in group])
        if users.any() and not users.all():
            return users
    groups, first, counts = np.unique(group, return_index=True, return_counts=True)
    if len(groups) == 1 or counts.max() == 1:
        # A single group, or one group per sample: there are no groups to keep together.
        return _share_of_each(samples, train, fraction, _VALIDATION_SEED)
    if all(len(np.unique(label[group == g])) == 1 for g in groups):
        return _whole_groups_of_each_class(group, label, groups, first, counts, fraction)
    return np.isin(group, _whole_groups(groups, counts, fraction, _VALIDATION_SEED))


def _user(group: str) -> int | None:
    number = re.search(r"\d+", group)
    return int(number.group()) if number else None


def _share_of_each(
    samples: SampleTable, chosen: NDArray[np.int64], fraction: float, seed: int, draw: int = 0
) -> NDArray[np.bool_]:
    """Mask of a random (seeded) fraction of the chosen samples of each class: at least one, never all."""
    label, index, name = samples.label[chosen], samples.index[chosen], samples.name[chosen]
    drawn = np.zeros(len(chosen), bool)
    for c in np.unique(label):
        members = np.flatnonzero(label == c)
        # Sorted by number and name, so that the order of the source does not matter.
        members = members[np.lexsort((name[members], index[members]))]
        order = _generator([seed, int(c)], draw).permutation(len(members))
        count = min(len(members) - 1, max(1, round(fraction * len(members))))
        drawn[members[order[:count]]] = True
    return drawn


def _generator(seed: list[int], draw: int) -> np.random.Generator:
    """The generator of a draw; that of draw 0 is the one of versions that had no other."""
    return np.random.default_rng([*seed, draw] if draw else seed)


def _whole_groups(
    groups: NDArray[np.str_], counts: NDArray[np.int64], fraction: float, seed: int, draw: int = 0
) -> list[str]:
    """Groups in random (seeded) order until their samples reach the fraction; at least one, never all."""
    wanted = fraction * int(counts.sum())
    chosen: list[str] = []
    taken = 0
    for k in _generator([seed], draw).permutation(len(groups))[:-1]:
        if chosen and taken + int(counts[k]) / 2 > wanted:
            break
        chosen.append(str(groups[k]))
        taken += int(counts[k])
    return chosen


def _whole_groups_of_each_class(
    group: NDArray[np.str_],
    label: NDArray[np.int64],
    groups: NDArray[np.str_],
    first: NDArray[np.int64],
    counts: NDArray[np.int64],
    fraction: float,
) -> NDArray[np.bool_]:
    """If every group belongs to one class: complete groups, class by class; a class with one group only trains."""
    chosen: list[str] = []
    for c in np.unique(label):
        of_class = label[first] == c
        chosen += _whole_groups(groups[of_class], counts[of_class], fraction, _VALIDATION_SEED + int(c))
    return np.isin(group, chosen)
