"""The contents of a data set folder: recordings, and the labelled samples within each."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

from preprocess.errors import LayoutError, RecordingError, more_errors
from preprocess.formats import NO_OPTIONS, ReadOptions, Recording, open_recording
from preprocess.formats.registry import decoder_of

CHECK_SOURCE = "Check --source."
_MOST_ERRORS = 20
_MOST_NAMES = 4

Contents = TypeVar("Contents")


@dataclass(frozen=True)
class Sample:
    """A labelled slice of a recording: every event with start_us <= t < end_us, or with a number in a range.

    Attributes:
        label: Class number, from 0.
        split: TRAIN, TEST or NO_SPLIT of `preprocess.store.sample_table`.
        index: Number within its class and split, or the number in its file name.
        group: Subject or object that was recorded; samples of one group stay together in a split.
        name: Readable name, unique within the data set.
        start_us: None if the slice begins with the recording.
        end_us: None if it ends with the recording.
        numbers: The first event and the one after the last, counted from 0 in the recording, if the slice is given by
            numbers; all samples of a recording are, or none.
    """

    label: int
    split: int
    index: int
    group: str
    name: str
    start_us: int | None = None
    end_us: int | None = None
    numbers: tuple[int, int] | None = None


@dataclass(frozen=True)
class SourceRecording:
    """A raw file and its samples.

    Attributes:
        path: The file.
        relative: Its path below the data set's folder.
        samples: Its samples.
    """

    path: Path
    relative: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Windows:
    """How recordings are cut into windows: [start + k * stride_us, start + k * stride_us + window_us), k = 0, 1, ..

    The start is that of the recording's interval, or its first event. Only windows that end within the interval, or
    no later than the recording's last event, become samples.

    Attributes:
        window_us: Length in µs.
        stride_us: Time from the start of one window to the start of the next; windows overlap if it is less than
            `window_us`.
        min_events: Minimum number of events; windows with fewer are left out.
    """

    window_us: int
    stride_us: int
    min_events: int = 1

    def errors(self) -> list[str]:
        """Errors of the numbers, one line each."""
        numbers = {"--window-us": self.window_us, "--stride-us": self.stride_us, "--min-events": self.min_events}
        return [f"{flag}: expected at least 1, found {n}" for flag, n in numbers.items() if n < 1]


@dataclass(frozen=True)
class Layout:
    """A data set in a folder.

    Attributes:
        name: Name of the caches, ``CACHE/<name>``.
        dataset: One of DATASETS.
        format: The format of all recordings, a key of FORMATS; None accepts any format.
        height: Sensor rows.
        width: Sensor columns.
        classes: Class names, by label.
        recordings: The recordings, in the order of the data set.
        orientation: Orientation of the image, if the format does not define it.
        form: Readable description of the recordings, such as ``SpikingJelly's events_np``.
        windows: How every sample is cut into windows of equal length; None keeps complete samples.
        salvage: Whether damaged recordings are read up to the damage.
        options: Columns, time unit and place of the events in files that do not state them.
        sort: Whether the events of each recording are sorted by time.
        joined: Whether the intervals of samples only separate them, so that a sample lasts as long as its events.
        tables: Other files that were read, such as label files, relative like the recordings.
        sensor: Name of the sensor that the recordings must be from, if they say it; empty for any.
    """

    name: str
    dataset: str
    format: str | None
    height: int
    width: int
    classes: tuple[str, ...]
    recordings: tuple[SourceRecording, ...]
    orientation: str | None = None
    form: str = ""
    windows: Windows | None = None
    salvage: bool = False
    options: ReadOptions = NO_OPTIONS
    sort: bool = False
    joined: bool = False
    tables: tuple[str, ...] = ()
    sensor: str = ""

    @property
    def decoder(self) -> str:
        """The format, its version and how it is decoded, for fingerprints."""
        # Of names as text: `Path.suffix` takes five times as long.
        suffixes = {os.path.splitext(recording.relative)[1] for recording in self.recordings}
        parts = decoder_of(self.format, {suffix.lower() for suffix in suffixes})
        parts += [f"windows {self.windows}"] if self.windows else []
        parts += [str(self.options)] if str(self.options) else []
        return ", ".join(parts + ["salvage"] * self.salvage + ["sorted by time"] * self.sort)

    @property
    def folder(self) -> Path:
        """The folder to which the paths of the recordings are relative."""
        first = self.recordings[0]
        return first.path.parents[len(Path(first.relative).parts) - 1]

    def open(self, recording: SourceRecording) -> Recording:
        """Open one of the recordings.

        Raises:
            RecordingError: If it is missing, damaged, or of another format or sensor.
        """
        size = self.height, self.width
        opened = open_recording(recording.path, format=self.format, size=size, options=self.options)
        if self.sensor and opened.sensor and opened.sensor != self.sensor:
            raise RecordingError(
                f"{recording.path}: expected a recording of a {self.sensor}, found one of a {opened.sensor} in the "
                "header. Leave the file out."
            )
        orientation = opened.orientation if self.orientation is None else self.orientation
        return dataclasses.replace(opened, orientation=orientation, salvage=self.salvage)


@dataclass(frozen=True)
class Form(Generic[Contents]):
    """One way in which the recordings, or images, of a data set are stored on a disk.

    Attributes:
        title: Readable name, such as ``SpikingJelly's events_np``.
        expected: Readable description of its folder.
        fits: Quick check whether a folder contains the data set of this name in this form.
        read: Returns the contents of such a folder, such as a `Layout`; LayoutError with a line for everything that is
            missing or damaged.
    """

    title: str
    expected: str
    fits: Callable[[Path, str], bool]
    read: Callable[[Path, str], Contents]


def locate_form(
    source: Path, forms: Sequence[Form[Contents]], dataset: str, missing: str = CHECK_SOURCE
) -> tuple[Form[Contents], Path]:
    """Return the first of the forms that is found in the source or up to two levels below it, and its folder.

    Args:
        source: The folder given by the user.
        forms: The forms.
        dataset: Name of the data set.
        missing: The next step if there is no such folder.

    Raises:
        LayoutError: If none is found, or one is found several times.
    """
    for form in forms:
        fits = partial(_fits, form, dataset)
        if first_folder(source, fits):
            return form, locate(source, fits, form.expected)
    others = [form.title for form in forms[1:]]
    expected = forms[0].expected + (f" (or {', or '.join(others)})" if others else "")
    locate(source, lambda _: False, expected, missing)
    raise AssertionError("nothing fits")


def _fits(form: Form[Contents], dataset: str, folder: Path) -> bool:
    return form.fits(folder, dataset)


def first_folder(source: Path, fits: Callable[[Path], bool]) -> Path | None:
    """Return the first folder that fits, among the source and the folders up to two levels below it."""
    if not source.is_dir():
        return None
    return next((folder for folder in chain([source], _below(source)) if fits(folder)), None)


def locate(source: Path, fits: Callable[[Path], bool], expected: str, missing: str = CHECK_SOURCE) -> Path:
    """Return the folder that fits: the source, or the only one up to two levels below it.

    Archives are unpacked into a subfolder, and SpikingJelly stores the recordings in ``extract/``.

    Args:
        source: The folder given by the user.
        fits: Quick check of a folder.
        expected: Readable description of the folder.
        missing: The next step if there is no such folder.

    Raises:
        LayoutError: If none fits, or several do.
    """

    def message(found: str, hint: str) -> LayoutError:
        return LayoutError(f"{source}: expected {expected}, found {found}. {hint}")

    if not source.exists():
        raise message("no such folder", missing)
    if not source.is_dir():
        raise message("a file", "Give the folder.")
    if fits(source):
        return source
    found = [folder for folder in _below(source) if fits(folder)]
    if len(found) > 1:
        names = [str(folder.relative_to(source)) for folder in found]
        raise message(f"{len(found)} folders with them: {_few(names)}", "Give one of them.")
    if not found:
        names = sorted(path.name for path in source.iterdir())
        raise message(_few(names) if names else "an empty folder", "Give the folder that contains them.")
    return found[0]


def _below(source: Path) -> Iterator[Path]:
    for child in folders(source):
        yield child
        yield from folders(child)


def folders(folder: Path) -> list[Path]:
    """Return the subfolders of a folder, sorted, without hidden ones; none if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def files(folder: Path, suffix: str) -> list[Path]:
    """Return the files in a folder whose names end with `suffix`, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if os.path.splitext(e.name)[1] == suffix and e.is_file()]
    return [folder / name for name in sorted(names) if not name.startswith(".")]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (" and more" if len(names) > _MOST_NAMES else "")


def raise_all(folder: Path, errors: Sequence[str]) -> None:
    """Raise a LayoutError with the errors, if there are any."""
    if errors:
        raise LayoutError(*first_errors(folder, errors))


def first_errors(where: Path | str, errors: Sequence[str]) -> list[str]:
    """Return the first errors and, if there are more, a line with the number of the others."""
    shown = list(errors[:_MOST_ERRORS])
    if len(errors) > len(shown):
        shown.append(f"{where}: {more_errors(len(errors) - len(shown))}. Correct these first.")
    return shown
