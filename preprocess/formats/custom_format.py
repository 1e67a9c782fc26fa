"""Custom raw formats: a function that reads events from a path, wrapped in a subclass of `Recording`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.recording import Recording, Size, file_size, first_outside, outside_sensor

ReadEvents = Callable[[Path], Events | Iterable[Events]]
"""A function that returns the events of a file, all at once or in chunks in recording order."""

_TYPES = {"t": np.int64, "x": np.uint16, "y": np.uint16, "p": np.uint8}


@dataclass(frozen=True)
class CustomRecording(Recording):
    """A file that a registered function reads; `custom_format` creates a subclass for each format.

    Attributes:
        events: All events, if the function returned them at once; None if it returns chunks, for which it is called
            again.
    """

    events: Events | None = None

    READ: ClassVar[ReadEvents]

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> Recording:
        """Call the function to get the sensor size from its events; `size` is not used."""
        bytes_of_file = file_size(path)
        found = cls._call(path)
        first = found if isinstance(found, Events) else next(cls._chunks(path, found), None)
        if first is None:
            raise RecordingError(f"{path}: expected events from the reader of {cls.TITLE}, found none. Leave it out.")
        whole = found if isinstance(found, Events) else None
        return cls(path, first.height, first.width, 0, bytes_of_file, events=whole)

    def decode(self) -> Iterator[Events]:
        """The chunks of the file, checked: columns of equal length, within the sensor, and of one sensor."""
        kind = type(self)
        parts = (self.events,) if self.events is not None else kind._chunks(self.path, kind._call(self.path))
        for part in parts:
            yield self._checked(part)

    @classmethod
    def _call(cls, path: Path) -> Events | Iterable[Events]:
        try:
            return cls.READ(path)
        except RecordingError:
            raise
        except Exception as error:  # whatever the user's reader raises
            raise cls._failed(path, error) from error

    @classmethod
    def _chunks(cls, path: Path, found: Events | Iterable[Events]) -> Iterator[Events]:
        try:
            yield from (found,) if isinstance(found, Events) else found
        except RecordingError:
            raise
        except Exception as error:  # whatever the user's reader raises
            raise cls._failed(path, error) from error

    @classmethod
    def _failed(cls, path: Path, error: Exception) -> RecordingError:
        text = " ".join(str(error).split())[:200]
        return RecordingError(
            f"{path}: expected events from the reader of {cls.TITLE}, found {type(error).__name__}: {text}. Correct "
            "the reader, or leave the file out."
        )

    def _checked(self, part: Events) -> Events:
        if not isinstance(part, Events):
            raise self._wrong("Events with the columns t, x, y, p", f"{type(part).__name__}")
        if (part.height, part.width) != (self.height, self.width):
            size = f"a sensor of {self.height}x{self.width} pixels (rows x columns)"
            raise self._wrong(size, f"{part.height}x{part.width}")
        columns = {name: np.asarray(getattr(part, name)) for name in _TYPES}
        if len({column.shape for column in columns.values()}) > 1 or columns["t"].ndim != 1:
            shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
            raise self._wrong("columns of one length", shapes)
        outside = first_outside(columns["x"], columns["y"], self.height, self.width)
        if outside >= 0:
            x, y = int(columns["x"][outside]), int(columns["y"][outside])
            raise outside_sensor(self, 0, x, y, f"event {outside} of a chunk")
        if len(part) and (columns["p"].min() < 0 or columns["p"].max() > 1):
            raise self._wrong("polarities 0 and 1", f"{columns['p'].min()} to {columns['p'].max()}")
        typed = {name: columns[name].astype(dtype, copy=False) for name, dtype in _TYPES.items()}
        return Events(**typed, height=self.height, width=self.width)

    def _wrong(self, expected: str, found: str) -> RecordingError:
        return RecordingError(
            f"{self.path}: expected {expected} from the reader of {self.TITLE}, found {found}. Correct the reader."
        )


def custom_format(
    name: str, read: ReadEvents, *, suffix: str, magic: bytes, title: str, version: int
) -> type[CustomRecording]:
    """Return the subclass of `CustomRecording` of a format; the arguments are those of `register_format`."""
    constants = {
        "NAME": name,
        "TITLE": title or name,
        "SUFFIX": suffix,
        "MAGIC": magic,
        "VERSION": version,
        "READ": staticmethod(read),
    }
    return type(f"Custom_{name.replace('-', '_')}", (CustomRecording,), constants)
