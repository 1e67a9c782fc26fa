"""Recordings whose events are known without reading them: one random recording, moved differently for each file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.dat_files import write_dat
from preprocess.events import Events

_SPAN_US = 1_000_000


def random_recording(events: int, height: int, width: int, seed: int, span_us: int = _SPAN_US) -> Events:
    """Random events in order of time, from 0 to at most `span_us`."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, span_us, events))
    x, y = (rng.integers(0, size, events, dtype=np.uint16) for size in (width, height))
    return Events(t, x, y, rng.integers(0, 2, events, dtype=np.uint8), height, width)


def moved(events: Events, k: int) -> Events:
    """The events of file k: moved by k columns and 3 k rows around the sensor, k ms later, polarity swapped if odd."""
    x, y = _around(events.x, k, events.width), _around(events.y, 3 * k, events.height)
    return replace(events, t=events.t + 1000 * k, x=x, y=y, p=events.p ^ np.uint8(k & 1))


def _around(places: NDArray[np.uint16], steps: int, size: int) -> NDArray[np.uint16]:
    """Places on a circle of `size`, moved by so many steps; a modulo of 10^7 places would take ten times as long."""
    moved_places = places + np.uint16(steps % size)
    moved_places[moved_places >= size] -= np.uint16(size)
    return moved_places


def write_folder(folder: Path, base: Events, files: int, classes: int = 2) -> Path:
    """Write one Prophesee ``.dat`` file for each k, class by class in turn; the names are in the order of k."""
    for k in range(files):
        path = file_of(folder, k, classes)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Complete or absent, so that an interrupted part continues.
            temporary = path.with_suffix(".tmp")
            write_dat(temporary, moved(base, k))
            temporary.rename(path)
    return folder


def file_of(folder: Path, k: int, classes: int = 2) -> Path:
    """Where `write_folder` writes file k."""
    return folder / f"class{k % classes}" / f"{k:05d}.dat"


def number_of(name: str) -> int:
    """The k of a sample, by its name in a store."""
    return int(Path(name).stem)


def plain_frames(events: Events, timesteps: int) -> NDArray[Any]:
    """Frames by the rule `number`, written down plainly: int64, shape (T, 2, H, W)."""
    frames = np.zeros((timesteps, 2, events.height, events.width), np.int64)
    width = len(events) // timesteps
    for step in range(timesteps):
        end = len(events) if step == timesteps - 1 else (step + 1) * width
        part = slice(step * width, end)
        np.add.at(frames[step], (events.p[part], events.y[part], events.x[part]), 1)
    return frames


def events_differ(found: Events, expected: Events) -> str:
    """The first difference between two recordings in words; empty if they are equal."""
    if len(found) != len(expected):
        return f"{len(found):,} events instead of {len(expected):,}"
    for column in "txyp":
        if not np.array_equal(getattr(found, column), getattr(expected, column)):
            return f"another {column}"
    return ""
