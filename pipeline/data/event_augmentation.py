"""Augmentation of events with tonic's transforms, redrawn for every sample and epoch from the run's seed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from preprocess.events import Events

_COLUMNS = np.dtype([("x", np.int32), ("y", np.int32), ("t", np.int64), ("p", np.int8)])

# tonic uses NumPy's global random generator, which all threads share.
_GLOBAL_GENERATOR = threading.Lock()


def augment_events(name: str, height: int, width: int, seed: int, epoch: int) -> Callable[[int, Events], Events]:
    """Return the function that augments the events of a sample, given its number, in one epoch.

    time-jitter adds normal noise with a standard deviation of 1 ms to the time of each event and sorts them again.
    spatial-jitter adds normal noise with a standard deviation of 1 pixel to the coordinates and drops events outside
    the sensor. drop-events drops a random share of the events, up to 0.3.

    Args:
        name: time-jitter, spatial-jitter or drop-events.
        height: Number of sensor rows.
        width: Number of sensor columns.
        seed: Seed of the run.
        epoch: Number of the epoch.
    """
    transform = _transform(name, height, width)

    def change(i: int, events: Events) -> Events:
        columns = np.empty(len(events), _COLUMNS)
        for column in "xytp":
            columns[column] = getattr(events, column)
        with _seeded([seed, epoch, i]):
            columns = transform(columns)
        x, y, p = columns["x"].astype(np.uint16), columns["y"].astype(np.uint16), columns["p"].astype(np.uint8)
        return Events(columns["t"].copy(), x, y, p, height, width)

    return change


def _transform(name: str, height: int, width: int) -> Any:
    # Imported here, because it loads all of tonic.
    from tonic import transforms

    if name == "time-jitter":
        return transforms.TimeJitter(std=1000, clip_negative=False, sort_timestamps=True)
    if name == "spatial-jitter":
        return transforms.SpatialJitter((width, height, 2), var_x=1.0, var_y=1.0, clip_outliers=True)
    return transforms.DropEvent(p=(0.0, 0.3))


@contextlib.contextmanager
def _seeded(seed: list[int]) -> Iterator[None]:
    """Seed NumPy's global random generator, and restore its state at the end."""
    with _GLOBAL_GENERATOR:
        state = np.random.get_state()  # noqa: NPY002
        np.random.seed(np.random.SeedSequence(seed).generate_state(4))  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
