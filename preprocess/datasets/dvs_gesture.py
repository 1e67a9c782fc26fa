"""DVS128-Gesture as IBM ships it: recordings of eleven gestures each, label files and the lists of the official split.

    DvsGesture/trials_to_train.txt          one name of a recording per line: users 1 to 23
    DvsGesture/trials_to_test.txt           users 24 to 29
    DvsGesture/user01_fluorescent.aedat     AEDAT 3.1
    DvsGesture/user01_fluorescent_labels.csv

Emulated gestures and cues have the same layout (`preprocess.datasets.emulated`).
Source: Amir et al., A Low Power, Fully Event-Based Gesture Recognition System, CVPR 2017.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

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


def recordings_form(classes: Sequence[str]) -> Form:
    """IBM's recordings, lists and label files, with custom classes."""
    return Form(
        "IBM's recordings (AEDAT 3.1)",
        f"{' and '.join(LISTS.values())}, the lists of the original DvsGesture folder (AEDAT 3.1)",
        _fits,
        partial(_read, tuple(classes)),
    )


FORM = recordings_form(CLASSES)
