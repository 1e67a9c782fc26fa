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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.dvs_gesture import CLASSES, FORM
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


def _read_spikingjelly(folder: Path, dataset: str) -> Layout:
    errors: list[str] = []
    cuts = [cut for part in _SPIKINGJELLY for cut in _cuts_of_spikingjelly(folder, part, errors)]
    raise_all(folder, errors)
    return _layout(dataset, dataset, "npz", cuts)


def _cuts_of_spikingjelly(folder: Path, part: str, errors: list[str]) -> Iterator[_Cut]:
    empty = True
    for of_class in folders(folder / part):
        if of_class.name not in map(str, range(len(CLASSES))):
            expected = f"expected folders named 0 to {len(CLASSES) - 1}"
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
        errors.append(f"{folder / part}: expected folders 0 to {len(CLASSES) - 1} of .npz, found none. Copy it again.")


def _fits_tonic(folder: Path, dataset: str) -> bool:
    return any((folder / part).is_dir() for part in _TONIC)


def _read_tonic(folder: Path, dataset: str) -> Layout:
    errors: list[str] = []
    cuts = [cut for part in _TONIC for cut in _cuts_of_tonic(folder, part, errors)]
    raise_all(folder, errors)
    return _layout(f"{dataset}-tonic", dataset, "npy-tonic", cuts)


def _cuts_of_tonic(folder: Path, part: str, errors: list[str]) -> Iterator[_Cut]:
    empty = True
    for of_recording in folders(folder / part):
        found = re.fullmatch(r"(user\d{1,4})_([a-z_]+)", of_recording.name)
        if not found:
            errors.append(
                f"{of_recording}: expected folders named userNN_LIGHT, found another name. Move it elsewhere."
            )
            continue
        for path in files(of_recording, ".npy"):
            if not re.fullmatch(r"\d{1,2}", path.stem) or int(path.stem) >= len(CLASSES):
                expected = f"expected a class, 0.npy to {len(CLASSES) - 1}.npy"
                errors.append(f"{path}: {expected}, found another name. Move the file elsewhere.")
                continue
            empty = False
            relative = f"{part}/{of_recording.name}/{path.name}"
            user, light = found.groups()
            yield _Cut(_TONIC[part], user, light, int(path.stem), 0, path, relative)
    if empty and not errors:
        errors.append(
            f"{folder / part}: expected folders userNN_LIGHT of 0.npy to {len(CLASSES) - 1}.npy, found none. "
            f"Unpack {part}.tar.gz there."
        )


def _layout(name: str, dataset: str, format: str, cuts: list[_Cut]) -> Layout:
    """The samples, numbered within their class and split in the order of users, lights and numbers."""
    counted: Counter[tuple[int, int]] = Counter()
    recordings = []
    for cut in sorted(cuts):
        of_recording = f"{cut.user}_{cut.light}"
        index = counted[cut.split, cut.label]
        sample = Sample(cut.label, cut.split, index, cut.user, f"{of_recording}/{CLASSES[cut.label]}_{cut.number}")
        recordings.append(SourceRecording(cut.path, cut.relative, (sample,)))
        counted[cut.split, cut.label] += 1
    return Layout(name, dataset, format, 128, 128, CLASSES, tuple(recordings))


SPIKINGJELLY_FORM = Form(
    "SpikingJelly's events_np (.npz)",
    "train and test with the folders 0 to 10 of userNN_LIGHT_NUMBER.npz in each",
    _fits_spikingjelly,
    _read_spikingjelly,
)
TONIC_FORM = Form(
    "the samples as tonic ships them (.npy, times in whole ms)",
    "ibmGestureTrain and ibmGestureTest with folders userNN_LIGHT of CLASS.npy in each",
    _fits_tonic,
    _read_tonic,
)

# With IBM's own recordings, which `dvs_gesture` reads.
DATASET = Dataset(
    "dvs-gesture",
    (FORM, SPIKINGJELLY_FORM, TONIC_FORM),
    archives={
        "DvsGesture.tar.gz": "DvsGesture",
        "ibmGestureTrain.tar.gz": "ibmGestureTrain",
        "ibmGestureTest.tar.gz": "ibmGestureTest",
    },
    download="tonic.datasets:DVSGesture",
    caches=(CacheKind("dvs-gesture"), CacheKind("dvs-gesture-tonic")),
    published={
        "dvs-gesture": Published(128, 128, 11, 1_176),
        "dvs-gesture-tonic": Published(128, 128, 11, 1_077),
    },
    # The official training users are 1 to 23; the last four validate.
    validation_users=frozenset({20, 21, 22, 23}),
)
