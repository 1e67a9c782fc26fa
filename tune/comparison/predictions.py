"""Which test samples each of several runs took for what they are, and which of the samples belong together."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocess import open_events
from preprocess.errors import CacheError, RunError
from preprocess.store.event_store import events_path

_FILE = "predictions.npz"
_AGAIN = "Write it again: spikeloom evaluate"


class Right(NamedTuple):
    """Which test samples each run took for what they are.

    Attributes:
        right: bool (runs, samples).
        names: Of the samples, in the order of the first run, str (samples,).
        labels: Class numbers, int64 (samples,).
    """

    right: NDArray[np.bool_]
    names: NDArray[np.str_]
    labels: NDArray[np.int64]


def read_right(run_folders: Sequence[Path]) -> Right:
    """Read `predictions.npz` of several runs of the same test samples; the prediction is the largest summed logit.

    Args:
        run_folders: At least one; row i of the answer is of folder i.

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
        # Where each sample of the first run stands in this one.
        place = np.empty(len(names), np.int64)
        place[order] = own_order
        _check_same_labels(first, labels, folder, own_labels[place], names)
        rows.append(own_predicted[place] == labels)
    return Right(np.stack(rows), names, labels)


def has_answers(run_folder: Path) -> bool:
    """Whether a run has its answers kept, whole or not."""
    return (run_folder / _FILE).is_file()


def check_answers(run_folder: Path, samples: int, correct: int) -> None:
    """Refuse answers that are not those that `result.json` counted; a run without any passes.

    Args:
        run_folder: Of a finished run.
        samples: How many test samples its `result.json` has.
        correct: And how many of them right.

    Raises:
        RunError: If `predictions.npz` is damaged, or has other numbers of samples or right answers.
    """
    if not has_answers(run_folder):
        return
    _, labels, predicted = _read(run_folder)
    found = int((predicted == labels).sum())
    if (len(labels), found) != (samples, correct):
        raise RunError(
            f"{run_folder / _FILE}: expected {correct} right answers of {samples}, as result.json has, found {found} "
            f"of {len(labels)}. Evaluated on another machine? {_AGAIN} {run_folder}"
        )


def read_groups(cache: Path, dataset: str, names: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """The group of each named sample, as the event store has it: samples of one group are not independent.

    A group is the user in dvs-gesture and emulated-gestures; the recording, of which windows are cut, or what the
    manifest says, in folders of one's own; in n-mnist, cifar10-dvs and emulated-digits every recording is of another
    image.

    Args:
        cache: The folder of all caches.
        dataset: The cache's name, as `dataset.name` of a run.
        names: Of samples, str (samples,).

    Returns:
        str (samples,), a sample without a group being its own; None where every sample is its own group.

    Raises:
        CacheError: If there is no such event store, it is damaged, or it lacks a sample.
    """
    store = open_events(events_path(cache, dataset))
    known = store.samples.name
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, names, sorter=order), len(known) - 1)]
    missing = names[known[place] != names]
    if len(missing):
        raise CacheError(
            f"{store.path}: expected the {len(names)} test samples of the runs, found {len(missing)} of them missing, "
            f"such as '{missing[0]}'. Give the cache that the runs were trained from."
        )
    held = store.samples.group[place]
    # A name may equal another sample's group: the mark keeps them apart.
    groups = np.array([group or f"\0{name}" for group, name in zip(held, names, strict=True)])
    return None if len(np.unique(groups)) == len(groups) else groups


def _read(folder: Path) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
    """Names, labels and predicted classes of a run's test samples."""
    path = folder / _FILE
    try:
        with np.load(path) as held:
            names, labels, logits = held["name"].astype(np.str_), held["label"].astype(np.int64), held["logits"]
        predicted = logits.argmax(1).astype(np.int64)
    except FileNotFoundError:
        raise RunError(f"{path}: expected the answers of a finished run, found no file. {_AGAIN} {folder}") from None
    except (OSError, KeyError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # RuntimeError: damaged flags make zipfile ask for a password or another method.
        raise RunError(f"{path}: cannot be read ({error}). {_AGAIN} {folder}") from None
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
    said = [f"lacks {len(lacks)}, such as '{lacks[0]}'"] if len(lacks) else []
    said += [f"has {len(has)} others, such as '{has[0]}'"] if len(has) else []
    raise RunError(
        f"{folder}: expected the {len(names)} test samples of {first}, found {len(own)}: it {' and '.join(said)}. "
        "Compare runs of one data set and split."
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
