"""DVS128-Gesture already cut into samples, as SpikingJelly stores it and as tonic distributes it.

    events_np/train/0/user01_fluorescent_0.npz     SpikingJelly: class folders 0 to 10, t, x, y and p in µs
    events_np/test/10/user29_natural_0.npz
    ibmGestureTrain/user01_fluorescent/0.npy       tonic: the number of a file is its class; x, y, p and t in ms
    ibmGestureTest/user29_natural/10.npy

tonic's samples are cut differently, 1,077 and 264 instead of 1,176 and 288, so their caches are called
``dvs-gesture-tonic``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from preprocess.datasets.layout import Form, Layout, Sample, SourceRecording, files, folders, raise_all
from preprocess.formats.numpy_files import holds_events
from preprocess.store.sample_table import TEST, TRAIN

_SPIKINGJELLY = {"train": TRAIN, "test": TEST}
_TONIC = {"ibmGestureTrain": TRAIN, "ibmGestureTest": TEST}


@dataclass(frozen=True, order=True)
class _Cut:
    """A file with one sample; the sort order is that of the recordings they were cut from."""

    split: int
    user: str
    light: str
    label: int
    number: int
    path: Path
    relative: str


def _fits_spikingjelly(folder: Path, dataset: str) -> bool:
    if not all((folder / part).is_dir() for part in _SPIKINGJELLY):
        return False
    first = next((folder / "train").glob("*/user*.npz"), None) or next((folder / "test").glob("*/user*.npz"), None)
    return first is not None and holds_events(first)


def _read_spikingjelly(classes: tuple[str, ...], folder: Path, dataset: str) -> Layout:
    errors: list[str] = []
    cuts = [cut for part in _SPIKINGJELLY for cut in _cuts_of_spikingjelly(classes, folder, part, errors)]
    raise_all(folder, errors)
    return _layout(dataset, dataset, "npz", classes, cuts)


def _cuts_of_spikingjelly(classes: tuple[str, ...], folder: Path, part: str, errors: list[str]) -> Iterator[_Cut]:
    empty = True
    for of_class in folders(folder / part):
        if of_class.name not in map(str, range(len(classes))):
            expected = f"expected folders named 0 to {len(classes) - 1}"
            errors.append(f"{of_class}: {expected}, found '{of_class.name}'. Move it elsewhere.")
            continue
        for path in files(of_class, ".npz"):
            found = re.fullmatch(r"(user\d{1,4})_([a-z_]+)_(\d{1,6})", path.stem)
            if not found:
                expected = "expected userNN_LIGHT_NUMBER.npz"
                errors.append(f"{path}: {expected}, found another name. Move the file elsewhere.")
                continue
            empty = False
            user, light, number = found.groups()
            relative = f"{part}/{of_class.name}/{path.name}"
            yield _Cut(_SPIKINGJELLY[part], user, light, int(of_class.name), int(number), path, relative)
    if empty and not errors:
        errors.append(f"{folder / part}: expected folders 0 to {len(classes) - 1} of .npz, found none. Copy it again.")


def _fits_tonic(folder: Path, dataset: str) -> bool:
    return any((folder / part).is_dir() for part in _TONIC)


def _read_tonic(classes: tuple[str, ...], folder: Path, dataset: str) -> Layout:
    errors: list[str] = []
    cuts = [cut for part in _TONIC for cut in _cuts_of_tonic(classes, folder, part, errors)]
    raise_all(folder, errors)
    return _layout(f"{dataset}-tonic", dataset, "npy-tonic", classes, cuts)


def _cuts_of_tonic(classes: tuple[str, ...], folder: Path, part: str, errors: list[str]) -> Iterator[_Cut]:
    empty = True
    for of_recording in folders(folder / part):
        found = re.fullmatch(r"(user\d{1,4})_([a-z_]+)", of_recording.name)
        if not found:
            errors.append(
                f"{of_recording}: expected folders named userNN_LIGHT, found another name. Move it elsewhere."
            )
            continue
        for path in files(of_recording, ".npy"):
            if not re.fullmatch(r"\d{1,2}", path.stem) or int(path.stem) >= len(classes):
                expected = f"expected a class, 0.npy to {len(classes) - 1}.npy"
                errors.append(f"{path}: {expected}, found another name. Move the file elsewhere.")
                continue
            empty = False
            relative = f"{part}/{of_recording.name}/{path.name}"
            user, light = found.groups()
            yield _Cut(_TONIC[part], user, light, int(path.stem), 0, path, relative)
    if empty and not errors:
        errors.append(
            f"{folder / part}: expected folders userNN_LIGHT of 0.npy to {len(classes) - 1}.npy, found none. "
            f"Unpack {part}.tar.gz there."
        )


def _layout(name: str, dataset: str, format: str, classes: tuple[str, ...], cuts: list[_Cut]) -> Layout:
    """The samples, numbered within their class and split in the order of users, lights and numbers."""
    counted: Counter[tuple[int, int]] = Counter()
    recordings = []
    for cut in sorted(cuts):
        of_recording = f"{cut.user}_{cut.light}"
        index = counted[cut.split, cut.label]
        sample = Sample(cut.label, cut.split, index, cut.user, f"{of_recording}/{classes[cut.label]}_{cut.number}")
        recordings.append(SourceRecording(cut.path, cut.relative, (sample,)))
        counted[cut.split, cut.label] += 1
    return Layout(name, dataset, format, 128, 128, classes, tuple(recordings))


def spikingjelly_form(classes: Sequence[str]) -> Form[Layout]:
    """SpikingJelly's samples of these classes."""
    return Form(
        "SpikingJelly's events_np (.npz)",
        "train and test with the folders 0 to 10 of userNN_LIGHT_NUMBER.npz in each",
        _fits_spikingjelly,
        partial(_read_spikingjelly, tuple(classes)),
    )


def tonic_form(classes: Sequence[str]) -> Form[Layout]:
    """tonic's samples of these classes."""
    return Form(
        "the samples as tonic ships them (.npy, times in whole ms)",
        "ibmGestureTrain and ibmGestureTest with folders userNN_LIGHT of CLASS.npy in each",
        _fits_tonic,
        partial(_read_tonic, tuple(classes)),
    )
