"""Events as text (``.txt``, ``.csv``, ``.tsv``, gzipped or zipped): a line for each, with the values t, x, y and p.

The values are separated by spaces, tabs, commas or semicolons; lines that begin with ``#`` or ``%`` are comments. The
columns are identified by the names in the first line, or by the user. Such files are written by v2e, ESIM, faery,
dv-processing and NumPy's savetxt; the Event-Camera Dataset and Simulator and E2VID are published as text.
Sources: https://rpg.ifi.uzh.ch/davis_data.html (events.txt) and https://github.com/uzh-rpg/rpg_e2vid
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import LARGEST_SIDE, Events
from preprocess.formats.column_recording import ColumnRecording, Columns
from preprocess.formats.read_options import COLUMNS, NO_OPTIONS, ReadOptions, TimeUnit
from preprocess.formats.recording import BLOCK_BYTES, Size, damaged, file_size, first_bytes, outside_sensor
from preprocess.formats.text.compressed_text import OpenText, is_compressed, is_zipped_text, open_text
from preprocess.formats.text.text_header import TextHeader, printable, read_text_header, split_line

_EVENTS_A_CHUNK = 1 << 17
_HEAD_BYTES = 1 << 16
_LONGEST_LINE = 1 << 16

# Powers of ten that turn a unit into µs.
_SCALES: dict[TimeUnit, int] = {"s": 6, "ms": 3, "us": 0, "ns": -3}


@dataclass(frozen=True)
class TextRecording(ColumnRecording):
    """Lines of numbers; `table` is what the first of them say."""

    NAME: ClassVar[str] = "text"
    TITLE: ClassVar[str] = "text"
    SUFFIX: ClassVar[str] = ".txt"
    OTHER_SUFFIXES = (".csv", ".tsv", ".gz", ".zip")
    MAGIC: ClassVar[bytes] = b""
    STORES_SIZE = "sometimes"

    table: TextHeader = field(default_factory=TextHeader)

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> TextRecording:
        """Read the first lines.

        Raises:
            RecordingError: If the file cannot be read, or is not text with known columns.
        """
        end = file_size(path)
        table = _header_of(path)
        if table is None or not table.is_of_events:
            raise _not_events(path, table)
        ordered = table.order is not None or options.columns is not None
        if table.order is not None and options.columns is not None:
            named = "".join(sorted(table.order, key=table.order.__getitem__))
            if named != options.columns:
                raise RecordingError(
                    f"{path}: expected --columns {named}, because its first lines name the columns in this order, "
                    f"found --columns {options.columns}. Leave it out, or correct the names."
                )
        largest = LARGEST_SIDE, LARGEST_SIDE
        opened = cls(path, *largest, table.start, end, table.lines, options=options, unit=table.unit, table=table)
        return opened._sized(table.size or size, ordered)

    @classmethod
    def may_be_recording(cls, path: Path) -> bool:
        """Whether the first lines have columns of events; notes, lists and other archives are not recordings."""
        try:
            if path.suffix.lower() == ".zip" and not is_zipped_text(first_bytes(path)):
                return False
            table = _header_of(path)
        except RecordingError:
            return True
        return table is not None and table.is_of_events

    def _unordered(self) -> RecordingError:
        return RecordingError(
            f"{self.path}: expected columns whose names say which is t, x, y and p, found four columns without such "
            f"names; the first event is {', '.join(self.table.first)}. Give their order, such as --columns {COLUMNS}."
        )

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        for events in self.decode():
            yield {letter: getattr(events, letter) for letter in COLUMNS}, 0

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first line that is not an event of the sensor."""
        from preprocess.formats.text.parse_lines import FULL, GOOD, parse_lines

        roles, scale = self._roles(), _SCALES[self.time_unit or "us"]
        exact = self.time_unit is None
        state = np.zeros(4, np.int64)
        with open_text(self.path) as opened:
            for data, position in self._lines(opened):
                taken, ended = 0, FULL
                while ended == FULL:
                    t, p = np.empty(_EVENTS_A_CHUNK, np.int64), np.empty(_EVENTS_A_CHUNK, np.uint8)
                    x, y = np.empty(_EVENTS_A_CHUNK, np.uint16), np.empty(_EVENTS_A_CHUNK, np.uint16)
                    ended, consumed, n, column = parse_lines(
                        data[taken:], roles, exact, scale, self.height, self.width, state, t, x, y, p
                    )
                    taken += consumed
                    self.note("comment_lines_skipped", int(state[1]))
                    if n:
                        yield Events(t[:n], x[:n], y[:n], p[:n], self.height, self.width)
                if ended != GOOD:
                    line = bytes(data[taken : taken + _LONGEST_LINE]).partition(b"\n")[0]
                    raise self._fault(ended, line, column, roles, state, opened.byte(position + taken))

    def _lines(self, opened: OpenText) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Blocks of complete lines, each with its first byte in the text."""
        position = self.table.start
        skipped = 0
        while skipped < position:
            skipped += len(opened.read(min(BLOCK_BYTES, position - skipped))) or position
        rest = b""
        while content := opened.read(BLOCK_BYTES):
            lines, newline, after = (rest + content).rpartition(b"\n")
            if newline:
                yield np.frombuffer(lines + newline, np.uint8), position
                position += len(lines) + 1
            rest = after
            if len(rest) > _LONGEST_LINE:
                at = opened.byte(position)
                raise damaged(
                    f"{self.path}: expected lines of less than {_LONGEST_LINE} bytes, found a longer one at byte "
                    f"{position}. The file is damaged or not text; copy it again.",
                    at,
                )
        if rest:
            yield np.frombuffer(rest + b"\n", np.uint8), position

    def _roles(self) -> NDArray[np.int64]:
        """What each value of a line is, as the kernel names it."""
        from preprocess.formats.text.parse_lines import P, T, X, Y

        named = self.table.order
        order = named or {letter: k for k, letter in enumerate(self.options.columns or COLUMNS)}
        roles = np.full(self.table.columns, -1, np.int64)
        for letter, role in zip(COLUMNS, (T, X, Y, P), strict=True):
            roles[order[letter]] = role
        return roles

    def _fault(
        self, ended: int, line: bytes, column: int, roles: NDArray[np.int64], state: NDArray[np.int64], at: int
    ) -> RecordingError:
        """The error for a line that is not an event."""
        from preprocess.formats.text import parse_lines as kernel

        where = f"in line {self.table.line + int(state[0])}"
        if ended == kernel.OUTSIDE_SENSOR:
            given = f"{where}, read by --columns {self.options.columns}" if self.options.columns else where
            return outside_sensor(self, at, int(state[2]), int(state[3]), given.removeprefix("in "))
        values = split_line(line.decode("utf-8", "replace").strip())
        role = int(roles[column]) if column < len(roles) else -1
        name = COLUMNS[role] if role >= 0 else "a value"
        hint = "The columns may have another order: give it with --columns, or correct the file."
        if ended in (kernel.TOO_FEW, kernel.TOO_MANY):
            expected, found = f"{len(roles)} values per line", f"{len(values)} ('{printable(' '.join(values))}')"
            hint = "The file is damaged or truncated; copy it again."
            return damaged(f"{self.path}: expected {expected}, found {found} {where} at byte {at}. {hint}", at)
        value = values[column] if column < len(values) else ""
        found = f"{name} = {printable(value)}"
        where += f", column {column + 1},"
        if ended == kernel.NOT_A_NUMBER:
            expected, hint = "numbers", "The file is damaged or truncated; copy it again."
            if not value.strip("\"' "):
                found, hint = f"no {name}", "Its columns may have unequal lengths; write it again, or remove the line."
        elif ended == kernel.NO_POLARITY:
            expected = "polarities 0 and 1 (or -1 and 1)"
        elif ended == kernel.TOO_LARGE:
            expected = "numbers of at most 62 bits"
        else:
            expected = "whole numbers (times in µs)"
            if role == kernel.T:
                hint = "Give the unit of the times with --time-unit s, ms, us or ns, or correct the file."
        return damaged(f"{self.path}: expected {expected}, found {found} {where} at byte {at}. {hint}", at)


def _not_events(path: Path, table: TextHeader | None) -> RecordingError:
    """The error for a file whose first lines are not events; `table` is what they say, None if they are no text."""
    hint = "Name the columns, or leave the file out."
    if table is not None and not table.odd:
        found = f"a line of {len(table.first)}: '{' '.join(table.first)[:80]}'"
    elif is_compressed(path):
        found, hint = "a compressed file of other contents", "Unpack it, and give what it contains."
    else:
        found = f"other text, {table.odd}" if table else "other contents than text"
    return RecordingError(
        f"{path}: expected lines of the values t, x, y and p, with their names in the first line if there are more, "
        f"found {found}. {hint}"
    )


def _header_of(path: Path) -> TextHeader | None:
    with open_text(path) as opened:
        head = opened.read(_HEAD_BYTES)
    if b"\0" in head:
        return None
    return read_text_header(head)
