"""Folds of whole groups: each group (person, recording) is in the test samples of exactly one fold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import ConfigError
from preprocess.store.sample_table import SampleTable


def fold_of_samples(samples: SampleTable, name: str, folds: int, seed: int) -> NDArray[np.int64]:
    """Deal the groups of a data set into folds of about equally many samples.

    Groups are taken in random (seeded) order, those with more samples first; each goes to the fold that has fewest
    samples so far. If every group belongs to one class, this is done class by class, so that the folds are stratified.
    A sample without a group is a group of its own.

    Args:
        samples: The sample table of the cache; its official split plays no part.
        name: The name of the cache, for errors.
        folds: The number of folds, at least 2.
        seed: Another seed deals the groups differently.

    Returns:
        The fold of each sample, 0 to folds - 1, int64 (N,).

    Raises:
        ConfigError: If there are fewer groups than folds, or some fold would be trained without a class.
    """
    own = [group or f"\0{sample}" for group, sample in zip(samples.group, samples.name, strict=True)]
    groups, first, of_sample, counts = np.unique(own, return_index=True, return_inverse=True, return_counts=True)
    if len(groups) == 1:
        raise ConfigError(
            f"dataset.split: leave-groups-out needs at least two groups (people or recordings), but all samples of "
            f"{name} belong to one, which cannot be divided. Record more, or choose another "
            "dataset.split."
        )
    if len(groups) < folds:
        raise ConfigError(
            f"dataset.folds: expected at most {len(groups)}, the number of groups (people or recordings) in {name}, "
            f"found {folds}. Choose fewer folds, or another dataset.split."
        )
    label = samples.label
    pure = np.array_equal(label, label[first][of_sample])
    strata = label[first] if pure else np.zeros(len(groups), np.int64)
    fold_of_group = np.full(len(groups), -1, np.int64)
    sizes = np.zeros(folds, np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        members = np.random.default_rng([seed, int(stratum)]).permutation(members)
        here = np.zeros(folds, np.int64)
        for group in members[np.argsort(-counts[members], kind="stable")]:
            # Fewest samples of the class; among equals fewest in all, so that not every remainder is in fold 0.
            fold = int(np.lexsort((sizes, here))[0])
            fold_of_group[group] = fold
            here[fold] += counts[group]
            sizes[fold] += counts[group]
    found = fold_of_group[of_sample]
    _check_folds(found, label, name, folds)
    return found


def _check_folds(fold: NDArray[np.int64], label: NDArray[np.int64], name: str, folds: int) -> None:
    """Refuse folds of which one is empty or has all samples of a class; folds are checked together, not when run."""
    for k in range(folds):
        untrained = np.setdiff1d(label, label[fold != k])
        if len(untrained):
            raise ConfigError(
                f"dataset.split: leave-groups-out needs two groups (people or recordings) of every class in different "
                f"folds, but in {name} fold {k} has all samples of class {untrained[0]}. Record more, or choose "
                "another dataset.folds or dataset.split_seed."
            )
