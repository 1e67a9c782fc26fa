"""Targets for recordings: one for each format of the registry, so that a new format is fuzzed without a new line.

The seeds are the files of `clock_files.CLOCKS`, which has an entry for every format, and variants of some formats from
`raw_seeds`. Compiled kernels cannot be instrumented by atheris, so coverage guides it through headers, packets and
checks only; ``python -m tests.fuzz`` compiles kernels with bounds checks, so that an access outside an array is found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from clock_files import CLOCKS, SIZE

from preprocess.errors import RecordingError
from preprocess.formats import FORMATS, NO_OPTIONS, ReadOptions, Recording, open_recording
from preprocess.formats.recording import Size

from .hdf5_mutators import edit_hdf5
from .mutators import edit_gzip, edit_zip, set_number
from .raw_seeds import VARIANTS
from .target import Mutator, Target

_SENSOR = SIZE, SIZE
_HDF5 = b"\x89HDF\r\n\x1a\n"

# Whatever the file states, these ways of reading may not fail otherwise than by an error of the user.
_PLAIN: tuple[tuple[Size | None, ReadOptions], ...] = ((_SENSOR, NO_OPTIONS),)
_WITH_OPTIONS: tuple[tuple[Size | None, ReadOptions], ...] = (
    (None, NO_OPTIONS),
    (_SENSOR, ReadOptions("txyp", "us")),
    (None, ReadOptions("xytp", "s", "events")),
)


def raw_format_targets() -> Iterator[Target]:
    """A target for each format."""
    for kind in FORMATS.values():
        yield Target(
            name=kind.NAME,
            file=f"a{kind.SUFFIX}",
            seeds=partial(_seeds, kind),
            read=partial(_read, kind),
            mutators=_mutators(kind),
        )


def _seeds(kind: type[Recording], folder: Path) -> Iterator[bytes]:
    path = folder / f"a{kind.SUFFIX}"
    t = 1_000_000 + np.arange(40) * 5000
    for clock in CLOCKS.values():
        if clock.format == kind.NAME:
            clock.write(path, t, np.zeros_like(t))
            yield path.read_bytes()
    for write in VARIANTS.get(kind.NAME, ()):
        write(path)
        yield path.read_bytes()


def _mutators(kind: type[Recording]) -> tuple[Mutator, ...]:
    if kind.MAGIC == _HDF5 or kind.NAME in ("mat73", "spike-trains"):
        return (edit_hdf5,)
    found: list[Mutator] = [set_number]
    if {".zip", ".npz"} & set(kind.suffixes()):
        found.append(edit_zip)
    if ".gz" in kind.suffixes():
        found.append(edit_gzip)
    return tuple(found)


def _read(kind: type[Recording], path: Path) -> None:
    """Read a file in every way; it is refused if all of them fail."""
    ways = _WITH_OPTIONS if kind.OPTIONS else _PLAIN
    errors: list[RecordingError] = []
    for size, options in ways:
        try:
            _read_once(lambda size=size, options=options: _open(kind, path, size, options))
        except RecordingError as error:
            errors.append(error)
    if kind.DECODES_FILES:
        _decode_in_one_call(kind, path)
    if len(errors) == len(ways):
        raise errors[0]


def _open(kind: type[Recording], path: Path, size: Size | None, options: ReadOptions) -> Recording:
    return open_recording(path, format=kind.NAME, size=size, options=options)


def _read_once(opened_again: Callable[[], Recording]) -> None:
    """Read a file twice, to the end or to the damage; what `salvage` reads up to the damage ends without an error."""
    opened = opened_again()
    assert opened.height > 0 and opened.width > 0
    try:
        before = _count_events(opened)
    except RecordingError as error:
        _salvage(opened_again(), error)
        raise
    assert _count_events(opened_again()) == before, "a second reading found other events"
    assert all(isinstance(count, int) and count > 0 for count in opened.notes.values()), opened.notes


def _salvage(opened: Recording, damage: RecordingError) -> None:
    if damage.at is not None:
        assert 0 <= damage.at <= opened.size, (damage.at, opened.size)
        salvaging = dataclasses.replace(opened, salvage=True)
        _count_events(salvaging)
        assert salvaging.notes["recordings_salvaged"] == 1


def _count_events(opened: Recording) -> int:
    """The number of events, all of which are within the sensor."""
    found = 0
    for chunk in opened.chunks():
        assert len(chunk.t) == len(chunk.x) == len(chunk.y) == len(chunk.p) > 0
        assert (chunk.t.dtype, chunk.x.dtype, chunk.y.dtype, chunk.p.dtype) == (
            np.int64,
            np.uint16,
            np.uint16,
            np.uint8,
        )
        assert chunk.x.max() < opened.width and chunk.y.max() < opened.height and chunk.p.max() <= 1
        found += len(chunk)
    return found


def _decode_in_one_call(kind: type[Recording], path: Path) -> None:
    """Decode the file twice in one call: the same events as by itself, or none and -1."""
    content = np.frombuffer(path.read_bytes(), np.uint8)
    data, ends = np.concatenate([content, content]), np.array([1, 2]) * len(content)
    events, counts = kind.decode_files(data, ends, *_SENSOR)
    assert len(counts) == 2 and counts[0] == counts[1] and len(events) == max(0, 2 * int(counts[0]))
    if counts[0] > 0:
        alone = list(open_recording(path, format=kind.NAME, size=_SENSOR).chunks())
        for column in "txyp":
            found = getattr(events, column)[: int(counts[0])]
            np.testing.assert_array_equal(found, np.concatenate([getattr(chunk, column) for chunk in alone]))
