"""Which test samples each of several runs classifies correctly, and which samples belong to one group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import CacheError, RunError
from preprocess.store.imported_frames import open_dataset

_FILE = "predictions.npz"
_AGAIN = "Write it again: spikeloom evaluate"


class Correct(NamedTuple):
    """Which test samples each run classifies correctly.

    Attributes:
        correct: bool (runs, samples).
        names: Names of the samples, in the order of the first run, str (samples,).
        labels: Class numbers, int64 (samples,).
    """

    correct: NDArray[np.bool_]
    names: NDArray[np.str_]
    labels: NDArray[np.int64]


def read_correct(run_folders: Sequence[Path]) -> Correct:
    """Read `predictions.npz` of several runs of the same test samples; the prediction is the largest summed logit.

    Args:
        run_folders: At least one; row i of the result belongs to folder i.

    Raises:
        RunError: If a file is missing or damaged, or a run has other test samples or labels than the first.
    """
    if not run_folders:
        raise RunError("expected at least one run with predictions, found none. Name run folders.")
    first, *others = run_folders
    names, labels, predicted = _read(first)
    order = np.argsort(names)
    rows = [predicted == labels]
    for folder in others:
        own_names, own_labels, own_predicted = _read(folder)
        own_order = np.argsort(own_names)
        _check_same_names(first, names[order], folder, own_names[own_order])
        # The row of each sample of the first run in this run.
        place = np.empty(len(names), np.int64)
        place[order] = own_order
        _check_same_labels(first, labels, folder, own_labels[place], names)
        rows.append(own_predicted[place] == labels)
    return Correct(np.stack(rows), names, labels)


def has_predictions(run_folder: Path) -> bool:
    """Whether a run has a file of predictions, intact or not."""
    return (run_folder / _FILE).is_file()


def check_predictions(run_folder: Path, samples: int, correct: int) -> None:
    """Refuse predictions that contradict `result.json`; a run without predictions passes.

    Args:
        run_folder: The folder of a finished run.
        samples: The number of test samples in its `result.json`.
        correct: The number of correct ones in its `result.json`.

    Raises:
        RunError: If `predictions.npz` is damaged, or has other numbers of samples or correct predictions.
    """
    if not has_predictions(run_folder):
        return
    _, labels, predicted = _read(run_folder)
    found = int((predicted == labels).sum())
    if (len(labels), found) != (samples, correct):
        raise RunError(
            f"{run_folder / _FILE}: expected {correct} correct predictions of {samples} as in result.json, found "
            f"{found} of {len(labels)}. Was it evaluated on another machine? {_AGAIN} {run_folder}"
        )


def read_groups(cache: Path, dataset: str, names: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """The group of each named sample in the event store: samples of one group are not independent.

    A group is the user in dvs-gesture and emulated-gestures; in your own folders the recording from which windows are
    cut, or the group in the manifest; in n-mnist, cifar10-dvs and emulated-digits every recording is its own group.

    Args:
        cache: The folder of all caches.
        dataset: The name of the cache, `dataset.name` of a run.
        names: Names of the samples, str (samples,).

    Returns:
        str (samples,), with a group of its own for a sample without a group; None if every sample is its own group.

    Raises:
        CacheError: If the event store does not exist, is damaged, or lacks a sample.
    """
    store = open_dataset(cache, dataset)
    known = store.samples.name
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, names, sorter=order), len(known) - 1)]
    missing = names[known[place] != names]
    if len(missing):
        raise CacheError(
            f"{store.path}: expected the {len(names)} test samples of the runs, found {len(missing)} of them missing, "
            f"such as '{missing[0]}'. Give the cache that the runs were trained from."
        )
    known_groups = store.samples.group[place]
    # A name may equal another sample's group: the prefix keeps them apart.
    groups = np.array([group or f"\0{name}" for group, name in zip(known_groups, names, strict=True)])
    return None if len(np.unique(groups)) == len(groups) else groups


def _read(folder: Path) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
    """Names, labels and predicted classes of a run's test samples."""
    path = folder / _FILE
    try:
        # Of damaged arrays NumPy warns before it refuses them.
        with np.errstate(all="ignore"), np.load(path) as file:
            names, labels, logits = file["name"].astype(np.str_), file["label"].astype(np.int64), file["logits"]
        predicted = logits.argmax(1).astype(np.int64)
    except FileNotFoundError:
        raise RunError(f"{path}: expected predictions of a finished run, found no file. {_AGAIN} {folder}") from None
    except Exception as error:  # whatever a damaged archive makes zipfile, zlib and NumPy raise
        raise RunError(f"{path}: cannot be read ({str(error)[:200]}). {_AGAIN} {folder}") from None
    if not names.shape == labels.shape == predicted.shape or names.ndim != 1 or not len(names):
        raise RunError(
            f"{path}: expected a name, a label and logits for each test sample, found shapes {names.shape}, "
            f"{labels.shape} and {logits.shape}. {_AGAIN} {folder}"
        )
    unique, times = np.unique(names, return_counts=True)
    if len(unique) < len(names):
        raise RunError(
            f"{path}: expected every test sample once, found '{unique[times.argmax()]}' {times.max()} times. "
            f"{_AGAIN} {folder}"
        )
    return names, labels, predicted


def _check_same_names(first: Path, names: NDArray[np.str_], folder: Path, own: NDArray[np.str_]) -> None:
    """Both sorted."""
    if np.array_equal(names, own):
        return
    lacks, has = np.setdiff1d(names, own), np.setdiff1d(own, names)
    differences = [f"lacks {len(lacks)}, such as '{lacks[0]}'"] if len(lacks) else []
    differences += [f"has {len(has)} others, such as '{has[0]}'"] if len(has) else []
    raise RunError(
        f"{folder}: expected the {len(names)} test samples of {first}, found {len(own)}: it "
        f"{' and '.join(differences)}. Compare runs of one data set and split."
    )


def _check_same_labels(
    first: Path, labels: NDArray[np.int64], folder: Path, own: NDArray[np.int64], names: NDArray[np.str_]
) -> None:
    other = np.flatnonzero(labels != own)
    if len(other):
        k = other[0]
        raise RunError(
            f"{folder}: expected the labels of {first}, found {len(other)} others, such as {own[k]} instead of "
            f"{labels[k]} for '{names[k]}'. Compare runs of one cache."
        )
