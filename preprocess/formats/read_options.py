"""Options for reading files that do not say everything about their events: columns, time unit, place in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

COLUMNS = "txyp"

LAYOUT_PLACES = ("events", "CD/events", "CD", *(f"davis/{s}{e}" for s in ("left", "right") for e in ("", "/events")))
"""Paths in HDF5 files of known layouts: there, the layout gives the unit, the time offset and the size."""

TimeUnit = Literal["s", "ms", "us", "ns"]


@dataclass(frozen=True)
class ReadOptions:
    """What a user knows about files that do not say it themselves.

    Attributes:
        columns: Order of columns without names, a permutation of ``txyp``.
        time_unit: Unit of the timestamps; None is the unit that the file states, else integer µs.
        hdf5_path: The group or data set of an HDF5 file that contains the events.
        topic: The topic of a ROS bag that contains the events.
    """

    columns: str | None = None
    time_unit: TimeUnit | None = None
    hdf5_path: str | None = None
    topic: str | None = None

    def errors(self) -> Iterator[str]:
        """A line for each invalid value."""
        if self.columns is not None and sorted(self.columns) != sorted(COLUMNS):
            yield f"--columns: expected each of t, x, y and p once, such as txyp, found '{self.columns[:80]}'"
        if self.hdf5_path is not None and not self.hdf5_path.strip("/"):
            yield f"--hdf5-path: expected a group or data set, such as events, found '{self.hdf5_path[:80]}'"
        if self.topic is not None and not self.topic.strip("/"):
            yield f"--topic: expected a topic, such as /dvs/events, found '{self.topic[:80]}'"

    @property
    def given(self) -> list[str]:
        """The names of the options that are not None."""
        return [field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None]

    def __str__(self) -> str:
        """Text for fingerprints; empty without options."""
        text = ", ".join(f"{name.replace('_', ' ')} {getattr(self, name)}" for name in self.given)
        # Earlier versions ignored the layout when a path was given: their event stores are not up to date.
        known = self.hdf5_path is not None and self.hdf5_path.strip("/") in LAYOUT_PLACES
        return f"{text} with the offset of its layout" if known else text


NO_OPTIONS = ReadOptions()


def flags(names: Sequence[str]) -> str:
    """The options as they are written on the command line, such as ``--columns and --time-unit``."""
    return " and ".join("--" + name.replace("_", "-") for name in names)
