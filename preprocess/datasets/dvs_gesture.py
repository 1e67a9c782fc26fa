"""DVS128-Gesture as IBM ships it: recordings of eleven gestures each, label files and the lists of the official split.

    DvsGesture/trials_to_train.txt          one name of a recording per line: users 1 to 23
    DvsGesture/trials_to_test.txt           users 24 to 29
    DvsGesture/user01_fluorescent.aedat     AEDAT 3.1
    DvsGesture/user01_fluorescent_labels.csv

Emulated gestures and cues have the same layout (`preprocess.datasets.emulated`).
Source: Amir et al., A Low Power, Fully Event-Based Gesture Recognition System, CVPR 2017.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.dvs_gesture_presplit import spikingjelly_form, tonic_form
from preprocess.datasets.layout import Form, Layout, Sample, SourceRecording, raise_all
from preprocess.errors import LayoutError
from preprocess.store.sample_table import TEST, TRAIN

LISTS = {TRAIN: "trials_to_train.txt", TEST: "trials_to_test.txt"}

CLASSES = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)

PAGE = "https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794"
"""Where IBM's recordings are downloaded with a browser."""

_CONTENTS = """\
DvsGesture/trials_to_train.txt            98 names
DvsGesture/trials_to_test.txt             24 names
DvsGesture/user01_fluorescent.aedat       AEDAT 3.1, 122 recordings
DvsGesture/user01_fluorescent_labels.csv  class,startTime_usec,endTime_usec"""

_CHECKED = "user01_natural.aedat"
_CHECKED_BYTES = 67_386_381
_CHECKED_SHA256 = "c32f9c9e465424794fcddb0b31317c5d7ef627c3ef95277b364f3728fff79f04"

_HEADER = "class,startTime_usec,endTime_usec"
_LATEST_US = 1 << 62


def _fits(folder: Path, dataset: str) -> bool:
    return any((folder / name).is_file() for name in LISTS.values())


def _read(classes: tuple[str, ...], folder: Path, dataset: str) -> Layout:
    errors: list[str] = []
    listed = _read_lists(folder, errors)
    counted: Counter[tuple[int, int]] = Counter()
    recordings = []
    for name, split in listed.items():
        path = folder / name
        if not path.is_file():
            errors.append(
                f"{path}: expected the recording that {LISTS[split]} lists, found no such file. Copy it again, or "
                "remove it from the list."
            )
            continue
        try:
            labels = read_labels(_labels_of(path), len(classes))
        except LayoutError as error:
            errors += error.errors
            continue
        recordings.append(SourceRecording(path, name, _samples(path.stem, split, labels, classes, counted)))
    raise_all(folder, errors)
    tables = (*LISTS.values(), *(_labels_of(recording.path).name for recording in recordings))
    return Layout(dataset, dataset, "aedat31", 128, 128, classes, tuple(recordings), tables=tables, sensor="DVS128")


def _labels_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}_labels.csv")


def _read_lists(folder: Path, errors: list[str]) -> dict[str, int]:
    """Read the names of the recordings and their splits, in the order of the lists."""
    listed: dict[str, int] = {}
    for split, list_name in LISTS.items():
        path = folder / list_name
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
            errors.append(f"{path}: cannot be read ({reason}). Copy the whole folder again.")
            continue
        for number, line in enumerate(lines, 1):
            name = line.strip()
            if not name:
                continue
            if not name.endswith(".aedat") or "/" in name:
                expected = "expected the name of a recording, such as user01_led.aedat"
                errors.append(f"{path}: line {number}: {expected}, found '{name[:60]}'. Copy the file again.")
            elif name in listed:
                errors.append(
                    f"{path}: line {number}: expected every recording in one list once, found {name} again. "
                    "Remove the line."
                )
            else:
                listed[name] = split
    if not listed and not errors:
        names = " or ".join(LISTS.values())
        errors.append(f"{folder}: expected at least one recording in {names}, found none. Copy them again.")
    return listed


def read_labels(path: Path, classes: int = len(CLASSES)) -> list[tuple[int, int, int]]:
    """Read a label file: class (from 1 to the number of classes), start and end in µs of each line.

    Classes may repeat and come in any order; intervals may overlap.

    Raises:
        LayoutError: If lines are damaged; lists all of them.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        expected = "expected the labels of a recording"
        raise LayoutError(
            f"{path}: {expected}, found a file that cannot be read ({error.strerror}). Copy it again."
        ) from None
    except UnicodeDecodeError:
        raise LayoutError(f"{path}: expected text, found other bytes. Copy the file again.") from None
    errors = []
    if not lines or lines[0].replace(" ", "").lower() != _HEADER.lower():
        found = f"'{lines[0][:60]}'" if lines else "an empty file"
        errors.append(f"{path}: line 1: expected {_HEADER}, found {found}. Copy the file again.")
    labels = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        label = _parse_label(line, classes)
        if isinstance(label, str):
            errors.append(f"{path}: line {number}: {label}. Copy the file again, or correct the line.")
        else:
            labels.append(label)
    if not labels and not errors:
        errors.append(f"{path}: expected at least one labelled interval, found none. Copy the file again.")
    raise_all(path, errors)
    return labels


def _parse_label(line: str, classes: int) -> tuple[int, int, int] | str:
    """Parse a line; returns class, start and end, or an error."""
    try:
        label, start, end = (int(field) for field in line.split(","))
    except ValueError:
        return f"expected three whole numbers ({_HEADER}), found '{line[:60]}'"
    if not 1 <= label <= classes:
        return f"expected a class from 1 to {classes}, found {label}"
    if not 0 <= start < end < _LATEST_US:
        return f"expected an interval that starts at 0 µs or later and ends after its start, found [{start}, {end})"
    return label, start, end


def _samples(
    stem: str,
    split: int,
    labels: list[tuple[int, int, int]],
    classes: tuple[str, ...],
    counted: Counter[tuple[int, int]],
) -> tuple[Sample, ...]:
    """The samples of a recording; `counted` has the number of earlier samples of each split and class."""
    user = stem.split("_")[0]
    within: Counter[int] = Counter()
    samples = []
    for label, start, end in labels:
        name = f"{stem}/{classes[label - 1]}_{within[label]}"
        samples.append(Sample(label - 1, split, counted[split, label], user, name, start, end))
        within[label] += 1
        counted[split, label] += 1
    return tuple(samples)


def check_raw_gestures(out: Path) -> str:
    """Return a message about IBM's recordings in a folder, or instructions to download them.

    Raises:
        LayoutError: If the recordings are present, but the one that is checked is damaged.
    """
    folder = next((f for f in (out / "DvsGesture", out) if (f / "trials_to_train.txt").is_file()), None)
    if folder is None:
        archive = out / "DvsGesture.tar.gz"
        if archive.is_file():
            return f"{archive} exists; preprocess unpacks it: spikeloom preprocess dvs-gesture --source {out}"
        return (
            "IBM's raw recordings (1,176 and 288 samples, times in µs) must be downloaded with a browser:\n"
            f"  1. open {PAGE}\n"
            f"  2. download DvsGesture.tar.gz into {out}\n"
            "  3. run this command again to check it, or directly: "
            f"spikeloom preprocess dvs-gesture --source {out}\n"
            "Contents:\n" + "\n".join(f"  {line}" for line in _CONTENTS.splitlines())
        )
    path = folder / _CHECKED
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest() if size == _CHECKED_BYTES else "not computed"
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}). Unpack DvsGesture.tar.gz again.") from None
    if found != _CHECKED_SHA256:
        raise LayoutError(
            f"{path}: expected {_CHECKED_BYTES:,} bytes with sha256 {_CHECKED_SHA256}, found {size:,} bytes with "
            f"sha256 {found}. Download DvsGesture.tar.gz again."
        )
    return f"{folder} contains IBM's recordings; {_CHECKED} is intact"


def recordings_form(classes: Sequence[str]) -> Form[Layout]:
    """IBM's recordings, lists and label files, with custom classes."""
    return Form(
        "IBM's recordings (AEDAT 3.1)",
        f"{' and '.join(LISTS.values())}, the lists of the original DvsGesture folder (AEDAT 3.1)",
        _fits,
        partial(_read, tuple(classes)),
    )


# With the samples that SpikingJelly and tonic cut from them, which `dvs_gesture_presplit` reads.
DATASET = Dataset(
    "dvs-gesture",
    (recordings_form(CLASSES), spikingjelly_form(CLASSES), tonic_form(CLASSES)),
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
