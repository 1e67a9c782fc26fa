"""The beginning of a text file of events: comments, names of the columns, the size of the sensor, the first event."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from preprocess.events import LARGEST_SIDE
from preprocess.formats.column_names import match_names
from preprocess.formats.read_options import COLUMNS, TimeUnit
from preprocess.formats.recording import Size
from preprocess.formats.text.polarity_words import POLARITY_WORDS

_COMMENTS = ("#", "%")
_NUMBER = re.compile(rf"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|{'|'.join(POLARITY_WORDS)}", re.IGNORECASE)
_SIZED = re.compile(r"([xy])@(\d{1,5})", re.IGNORECASE)
_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")
_MARK = re.compile(r"\s*[,;]\s*")
# What spreadsheets write for empty columns behind the last one.
_BEHIND = re.compile(r"[\s,;]+$")
_QUOTED = re.compile(r""""(?:[^"]|"")*"|(?<![^\s,;])'[^']*'""")
_HIDDEN = "\x1a"
_MOST_SHOWN = 80


@dataclass(frozen=True)
class TextHeader:
    """What the first lines of a text say.

    Attributes:
        lines: Its comments and names of columns.
        start: Byte of the first line with an event.
        line: Number of that line, from 1.
        first: The values of the first event; empty without one.
        columns: Number of values per line.
        order: Column letter -> position; None if the columns have no names.
        size: Rows and columns of the sensor, if it says them.
        unit: Unit of the times, if it follows from the kind of file.
        odd: The first line that contains neither names nor numbers, for the error that refuses the file.
    """

    lines: tuple[str, ...] = ()
    start: int = 0
    line: int = 1
    first: tuple[str, ...] = ()
    columns: int = 0
    order: dict[str, int] | None = None
    size: Size | None = None
    unit: TimeUnit | None = None
    odd: str = ""

    @property
    def is_of_events(self) -> bool:
        """Whether lines have columns of events, at least as far as their number says."""
        return self.order is not None or len(self.first) == len(COLUMNS)


def read_text_header(head: bytes) -> TextHeader:
    """Read the first lines of a text.

    A line with names precedes the events; it may be a comment. E2VID's texts begin with a line of width and height
    instead, and their columns are t in s, x, y, p (https://github.com/uzh-rpg/rpg_e2vid).

    Returns:
        The header; it is not one of events if `odd` is a line.
    """
    shown: list[str] = []
    position, number = 0, 1
    names: list[str] | None = None
    size: Size | None = None
    for raw in head.split(b"\n"):
        text = raw.decode("utf-8", "replace").strip().removeprefix("\ufeff")
        values = _unquoted(split_line(text))
        if text and not text.startswith(_COMMENTS):
            if _is_event(values, names):
                if size is None and names is None and _is_size(values):
                    size = int(values[1]), int(values[0])
                else:
                    return _with_columns(shown, position, number, values, names, size)
            elif names is None and size is None:
                names, size = _names_of_faery(_split_names(text))
            else:
                return TextHeader(odd=f"'{printable(text)}' in line {number}")
        if text:
            shown.append(text)
        position += len(raw) + 1
        number += 1
    # No event at all.
    order = _positions(names or [])
    if names and order is None:
        return TextHeader(odd=f"'{printable(' '.join(names))}'")
    return TextHeader(tuple(shown), len(head), number, (), len(names or COLUMNS), order)


def _is_size(values: Sequence[str]) -> bool:
    """Whether the values are width and height of a sensor."""
    return len(values) == 2 and all(
        value.isdecimal() and len(value) <= len(str(LARGEST_SIDE)) and 0 < int(value) <= LARGEST_SIDE
        for value in values
    )


def _is_event(values: Sequence[str], names: Sequence[str] | None) -> bool:
    """Whether the values are those of an event; a column that is not one of its four may have any."""
    order = _positions(names or [])
    if order is not None and len(values) > max(order.values()):
        values = [values[column] for column in order.values()]
    return all(_NUMBER.fullmatch(value) for value in values)


def split_line(text: str) -> list[str]:
    """The values of a line, as they are written; separators in quotes do not separate."""
    text = _BEHIND.sub("", text)
    return _split(_SEPARATOR, text) if text else []


def _split(separator: re.Pattern[str], text: str) -> list[str]:
    parts: list[str] = _QUOTED.findall(text)
    if not parts:
        return separator.split(text)
    hidden = iter(parts)
    values = separator.split(_QUOTED.sub(_HIDDEN, text))
    return [re.sub(_HIDDEN, lambda _: next(hidden, ""), value) for value in values]


def printable(text: str) -> str:
    """The beginning of a text, for messages of one line."""
    return "".join(c if c.isprintable() else "?" for c in text[:_MOST_SHOWN])


def _unquoted(values: Sequence[str]) -> list[str]:
    return [value.strip("\"'").strip() for value in values]


def _split_names(text: str) -> list[str]:
    """The names in a line; they may contain spaces if commas or semicolons separate them, as in ``time [us],x,y,p``."""
    return _unquoted(_split(_MARK, text) if _MARK.search(text) else split_line(text))


def _names_of_faery(values: list[str]) -> tuple[list[str], Size | None]:
    """The names without the size that faery writes: ``t,x@1280,y@720,on``."""
    sizes = {found[1].lower(): int(found[2]) for value in values if (found := _SIZED.fullmatch(value))}
    names = [found[1] if (found := _SIZED.fullmatch(value)) else value for value in values]
    if sizes.keys() != {"x", "y"} or not all(sizes.values()):
        return values, None
    return ["p" if name == "on" else name for name in names], (sizes["y"], sizes["x"])


def _with_columns(
    shown: list[str], position: int, number: int, values: list[str], names: list[str] | None, size: Size | None
) -> TextHeader:
    if names is None:
        # As NumPy's savetxt writes names.
        comments = (_split_names(line.lstrip("#% ")) for line in reversed(shown) if line.startswith(_COMMENTS))
        names = next((found for found in comments if len(found) == len(values) and match_names(found)), None)
    while names and not names[-1] and len(names) > len(values):
        names = names[:-1]
    order = _positions(names or [])
    unit: TimeUnit | None = None
    if size is not None and order is None and len(values) == len(COLUMNS):
        order, unit = {letter: k for k, letter in enumerate(COLUMNS)}, "s"
    columns = len(names) if names is not None and order is not None else len(values)
    return TextHeader(tuple(shown), position, number, tuple(values), columns, order, size, unit)


def _positions(names: Sequence[str]) -> dict[str, int] | None:
    found = match_names(names)
    return None if found is None else {letter: names.index(name) for letter, name in found.items()}
