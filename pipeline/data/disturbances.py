"""Disturbances of a camera's output: noise events, hot pixels, dropped events and time jitter.

Those of events are functions (number of the sample, `Events`) -> `Events`, sorted by time, for `EventFrames.changed`.
Those of frames are functions (number of the sample, counts) -> counts, for `ChangedFrames`, where there are no events.
Each sample has random numbers of its own, from the seed and its number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.binning.binning_config import Binning
from preprocess.events import Events
from preprocess.store.frame_source import FrameSource
from preprocess.store.sample_table import SampleTable

ChangeEvents = Callable[[int, Events], Events]
ChangeCounts = Callable[[int, NDArray[np.int64]], NDArray[np.int64]]

_US = 1_000_000


def add_noise(share: float, seed: Sequence[int]) -> ChangeEvents:
    """Add events that are uniform over pixels, polarities and the time of the sample: share times its events."""

    def change(i: int, events: Events) -> Events:
        rng = np.random.default_rng([*seed, i])
        count = round(share * len(events))
        return _merged(events, _uniform(rng, count, *_span(events), events.height, events.width))

    return change


def add_hot_pixels(pixels: int, hertz: float, seed: Sequence[int]) -> ChangeEvents:
    """Add pixels that fire ON events at a constant rate during the sample, whatever they see; no pixel twice."""

    def change(i: int, events: Events) -> Events:
        rng = np.random.default_rng([*seed, i])
        start, end = _span(events)
        places = rng.choice(events.height * events.width, min(pixels, events.height * events.width), replace=False)
        each = int((end - start) * hertz / _US)
        y, x = np.divmod(np.repeat(places, each), events.width)
        # Each pixel starts at a random phase.
        phase = np.repeat(rng.random(len(places)), each)
        t = start + ((np.tile(np.arange(each), len(places)) + phase) * _US / hertz).astype(np.int64)
        p = np.ones(len(t), np.uint8)
        return _merged(events, Events(t, x.astype(np.uint16), y.astype(np.uint16), p, events.height, events.width))

    return change


def drop_events(share: float, seed: Sequence[int]) -> ChangeEvents:
    """Drop each event with this probability."""

    def change(i: int, events: Events) -> Events:
        return events[np.random.default_rng([*seed, i]).random(len(events)) >= share]

    return change


def jitter_times(std_us: float, seed: Sequence[int]) -> ChangeEvents:
    """Add normal noise to the time of each event, and sort the events by time again."""

    def change(i: int, events: Events) -> Events:
        noise = np.random.default_rng([*seed, i]).normal(0.0, std_us, len(events))
        return _sorted(Events(events.t + noise.round().astype(np.int64), *_rest(events)))

    return change


def add_noise_to_counts(share: float, seed: Sequence[int]) -> ChangeCounts:
    """As `add_noise`, for frames: events that are uniform over all elements, share times the counted ones."""

    def change(i: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        rng = np.random.default_rng([*seed, i])
        places = rng.integers(0, counts.size, round(share * int(counts.sum())))
        return counts + np.bincount(places, minlength=counts.size).reshape(counts.shape)

    return change


def add_hot_pixels_to_counts(pixels: int, each: int, seed: Sequence[int]) -> ChangeCounts:
    """As `add_hot_pixels`, for frames: pixels with this many more ON events in each frame."""

    def change(i: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        rng = np.random.default_rng([*seed, i])
        height, width = counts.shape[-2:]
        places = rng.choice(height * width, min(pixels, height * width), replace=False)
        changed = counts.copy()
        changed[:, 1, places // width, places % width] += each
        return changed

    return change


def drop_counts(share: float, seed: Sequence[int]) -> ChangeCounts:
    """As `drop_events`, for frames: each counted event is dropped with this probability."""

    def change(i: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.random.default_rng([*seed, i]).binomial(counts, 1.0 - share)

    return change


class ChangedFrames:
    """A source of frames with changed counts; padding after the frames of a short sample stays empty.

    Its attributes are those of `FrameSource`; counts are 32 bits wide.
    """

    def __init__(self, frames: FrameSource, change: ChangeCounts) -> None:
        self._frames, self._change = frames, change
        self.path: Path = frames.path
        self.dataset, self.classes, self.fingerprint = frames.dataset, frames.classes, frames.fingerprint
        self.binning: Binning = frames.binning
        self.timesteps, self.lengths = frames.timesteps, frames.lengths
        self.height, self.width = frames.height, frames.width
        self.dtype: np.dtype[Any] = np.dtype(np.uint32)

    @property
    def samples(self) -> SampleTable:
        """The sample table."""
        return self._frames.samples

    @property
    def sample_shape(self) -> tuple[int, int, int, int]:
        """(T, 2, H, W)."""
        return self._frames.sample_shape

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, i: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Sample i's changed counts, shape (T, 2, H, W), written to `out` if given."""
        counts = self._frames.read(i).astype(np.int64)
        steps = int(self.lengths[i])
        counts[:steps] = self._change(i, counts[:steps])
        if out is None:
            out = np.empty(self.sample_shape, self.dtype)
        out[...] = counts
        return out

    def read_batch(self, indices: Sequence[int] | NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The changed counts of several samples, shape (B, T, 2, H, W), written to `out` if given."""
        if out is None:
            out = np.empty((len(indices), *self.sample_shape), self.dtype)
        for row, i in zip(out, indices, strict=True):
            self.read(int(i), row)
        return out

    def close(self) -> None:
        """Close this process's file; the next read opens it again."""
        self._frames.close()


def _span(events: Events) -> tuple[int, int]:
    """The first and the last time in µs; (0, 0) without events."""
    return (int(events.t.min()), int(events.t.max())) if len(events) else (0, 0)


def _uniform(rng: np.random.Generator, count: int, start: int, end: int, height: int, width: int) -> Events:
    return Events(
        rng.integers(start, end + 1, count),
        rng.integers(0, width, count).astype(np.uint16),
        rng.integers(0, height, count).astype(np.uint16),
        rng.integers(0, 2, count).astype(np.uint8),
        height,
        width,
    )


def _merged(events: Events, more: Events) -> Events:
    return _sorted(Events.concatenate([events, more], events.height, events.width))


def _sorted(events: Events) -> Events:
    return events[np.argsort(events.t, kind="stable")]


def _rest(events: Events) -> tuple[Any, ...]:
    return events.x, events.y, events.p, events.height, events.width
