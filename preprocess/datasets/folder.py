"""A folder of custom recordings, of any format and any sensor, with the classes as folders or in a table.

    SOURCE/train/box/a.aedat  SOURCE/test/box/b.aedat     SOURCE/<split>/<class>/*
    SOURCE/box/a.aedat  SOURCE/mug/c.raw                  SOURCE/<class>/*
    SOURCE/manifest.csv                                   path,label,split,group,start_us,end_us

A manifest needs the columns path (below SOURCE) and label. With an interval, only the events in [start_us, end_us)
count. The samples of a group stay together in a split; a group is a recording, unless the manifest defines it.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from preprocess.datasets.dataset_description import Dataset
from preprocess.datasets.layout import Form, Layout, Sample, SourceRecording, folders, raise_all
from preprocess.errors import LayoutError
from preprocess.formats import SUFFIXES, Size, open_recording
from preprocess.formats.registry import files_for, formats_of, may_be_recording
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN

MANIFEST = "manifest.csv"

_SPLITS = {"train": TRAIN, "test": TEST}
_COLUMNS = ("path", "label", "split", "group", "start_us", "end_us")


@dataclass(frozen=True)
class _Entry:
    """One labelled interval of a recording; `path` is relative."""

    path: str
    label: str
    split: int
    group: str
    start_us: int | None = None
    end_us: int | None = None

    @property
    def name(self) -> str:
        stem = _stem(self.path)
        if self.start_us is None and self.end_us is None:
            return stem
        return f"{stem}/{'' if self.start_us is None else self.start_us}-{'' if self.end_us is None else self.end_us}us"


def with_sensor(layout: Layout, size: Size | None) -> Layout:
    """Return the layout with the sensor size of its first recording, or `size` if the format does not store it.

    Raises:
        LayoutError: If the size is unknown, or options are given that no recording needs.
        RecordingError: If the first recording is damaged.
    """
    first = layout.recordings[0].path
    kinds = {kind for suffix in {r.path.suffix for r in layout.recordings} for kind in formats_of(suffix)}
    unused = [name for name in layout.options.given if not any(name in kind.OPTIONS for kind in kinds)]
    if unused:
        raise LayoutError(f"{layout.folder}: expected a {files_for(unused)}, found none. Leave it out.")
    without = (kind.TITLE for kind in formats_of(first.suffix) if kind.STORES_SIZE == "never")
    title = next(without, None)
    if size is None and title is not None:
        raise _without_size(first, title)
    opened = open_recording(first, size=size, options=layout.options)
    if opened.size_is_derived:
        raise _without_size(first, opened.format)
    return dataclasses.replace(layout, height=opened.height, width=opened.width)


def _without_size(path: Path, title: str) -> LayoutError:
    return LayoutError(
        f"{path}: expected the size of the sensor, which {title} files do not store, found none. Give it: "
        "--sensor-size ROWS COLUMNS"
    )


def _fits_manifest(folder: Path, dataset: str) -> bool:
    return (folder / MANIFEST).is_file()


def _fits_splits(folder: Path, dataset: str) -> bool:
    return any(part.name.lower() in _SPLITS and _has_classes(part) for part in folders(folder))


def _has_classes(folder: Path) -> bool:
    return any(_recordings_in(of_class) for of_class in folders(folder))


def _recordings_in(folder: Path) -> list[Path]:
    """The files with the suffix of a recording, sorted, without texts of other contents."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file() and may_be_recording(path))


def _read_splits(folder: Path, dataset: str) -> Layout:
    errors: list[str] = []
    entries: list[_Entry] = []
    for part in sorted(folders(folder), key=lambda part: part.name.lower() != "train"):
        if part.name.lower() in _SPLITS:
            entries += _entries_of_classes(part, f"{part.name}/", _SPLITS[part.name.lower()], errors)
        else:
            errors.append(f"{part}: expected the folders train and test only, found '{part.name}'. Move it elsewhere.")
    return _layout(folder, dataset, entries, errors)


def _read_classes(folder: Path, dataset: str) -> Layout:
    errors: list[str] = []
    return _layout(folder, dataset, list(_entries_of_classes(folder, "", NO_SPLIT, errors)), errors)


def _entries_of_classes(folder: Path, above: str, split: int, errors: list[str]) -> Iterator[_Entry]:
    for of_class in folders(folder):
        found = _recordings_in(of_class)
        if not found:
            errors.append(_without_recordings(of_class))
        for path in found:
            relative = f"{above}{of_class.name}/{path.name}"
            yield _Entry(relative, of_class.name, split, _stem(relative))


def _without_recordings(folder: Path) -> str:
    """Return the error for a class folder without recordings, with the kinds of files that it contains."""
    kinds = Counter(map(_kind_of, (path for path in folder.iterdir() if not path.is_dir())))
    found = f"only {', '.join(f'{count:,} {kind}' for kind, count in kinds.most_common(4))}" if kinds else "none"
    return f"{folder}: expected recordings ({', '.join(SUFFIXES)}), found {found}. Move the folder elsewhere."


def _kind_of(path: Path) -> str:
    if not path.exists():
        return "links to missing files"
    kind = path.suffix.lower() or "others"
    return f"{kind} without events" if kind in SUFFIXES else kind


def _read_manifest(folder: Path, dataset: str) -> Layout:
    path = folder / MANIFEST
    errors: list[str] = []
    try:
        lines = list(csv.reader(path.read_text("utf-8-sig").splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(
            f"{path}: expected a table as text, found something else ({error}). Save it again as CSV."
        ) from None
    header = [name.strip() for name in lines[0]] if lines else []
    unknown = [name for name in header if name not in _COLUMNS]
    if unknown or "path" not in header or "label" not in header or len(set(header)) < len(header):
        raise LayoutError(
            f"{path}: line 1: expected the columns path and label, and any of {', '.join(_COLUMNS[2:])}, found "
            f"'{','.join(header)[:80]}'. Correct the line."
        )
    entries = []
    for number, line in enumerate(lines[1:], 2):
        if not any(field.strip() for field in line):
            continue
        entry = _entry(folder, dict.fromkeys(_COLUMNS, "") | dict(zip(header, map(str.strip, line), strict=False)))
        if len(line) != len(header):
            entry = f"expected {len(header)} fields, found {len(line)}"
        if isinstance(entry, str):
            errors.append(f"{path}: line {number}: {entry}. Correct the line.")
        else:
            entries.append(entry)
    if entries and len({entry.split == NO_SPLIT for entry in entries}) > 1:
        errors.append(f"{path}: expected a split in every line or in none, found both. Fill the column.")
    return dataclasses.replace(_layout(folder, dataset, entries, errors), tables=(MANIFEST,))


def _entry(folder: Path, fields: dict[str, str]) -> _Entry | str:
    """Parse a line of the manifest; returns its interval, or an error."""
    name = fields["path"]
    if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return f"expected a path below the folder of the manifest, found '{name[:80]}'"
    name = str(PurePosixPath(name))
    if not (folder / name).is_file():
        return f"expected a recording, found no such file: {name[:80]}"
    if not fields["label"]:
        return "expected a label, found none"
    if fields["split"] not in ("", *_SPLITS):
        return f"expected train, test or nothing as split, found '{fields['split'][:80]}'"
    bounds: list[int | None] = []
    for column in ("start_us", "end_us"):
        if not re.fullmatch(r"\d{0,18}", fields[column]):
            return f"expected a whole number of µs as {column}, found '{fields[column][:80]}'"
        bounds.append(int(fields[column]) if fields[column] else None)
    start, end = bounds
    if end is not None and end <= (start or 0):
        return f"expected an interval with its end after its start, found [{start or 0}, {end})"
    split = _SPLITS.get(fields["split"], NO_SPLIT)
    return _Entry(name, fields["label"], split, fields["group"] or _stem(name), start, end)


def _layout(folder: Path, dataset: str, entries: list[_Entry], errors: list[str]) -> Layout:
    """The samples, numbered within their class and split; every recording once, in the order of its first interval."""
    if not entries and not errors:
        errors.append(f"{folder}: expected at least one recording, found none. Check --source.")
    for group in sorted({e.group for e in entries if e.split == TRAIN} & {e.group for e in entries if e.split == TEST}):
        errors.append(f"{folder}: expected every group in one split, found '{group}' in train and in test. Move one.")
    for name, times in Counter(entry.name for entry in entries).items():
        if times > 1:
            errors.append(f"{folder}: expected every sample once, found '{name}' {times} times. Keep one.")
    raise_all(folder, errors)
    classes = _in_order({entry.label for entry in entries})
    counted: Counter[tuple[int, str]] = Counter()
    samples: dict[str, list[Sample]] = {}
    for entry in entries:
        index = counted[entry.split, entry.label]
        counted[entry.split, entry.label] += 1
        label = classes.index(entry.label)
        sample = Sample(label, entry.split, index, entry.group, entry.name, entry.start_us, entry.end_us)
        samples.setdefault(entry.path, []).append(sample)
    recordings = tuple(SourceRecording(folder / path, path, tuple(found)) for path, found in samples.items())
    return Layout(dataset, dataset, None, 0, 0, classes, recordings)


def _in_order(labels: set[str]) -> tuple[str, ...]:
    """Sorted by value if all are numbers, else alphabetically."""
    return tuple(sorted(labels, key=int if all(label.isascii() and label.isdigit() for label in labels) else None))


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix("")) if PurePosixPath(path).suffix else path


FORMS = (
    Form(
        "recordings of a manifest",
        f"{MANIFEST}, or recordings ({', '.join(SUFFIXES)}) in folders CLASS or SPLIT/CLASS",
        _fits_manifest,
        _read_manifest,
    ),
    Form("folders of a split and class", "train and test with a folder of each class", _fits_splits, _read_splits),
    Form("class folders", "a folder of recordings for each class", lambda f, _: _has_classes(f), _read_classes),
)

DATASET = Dataset("folder", FORMS)
