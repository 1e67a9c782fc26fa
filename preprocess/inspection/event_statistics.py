"""Statistics of a stream of events: counts, rates and order, computed chunk by chunk in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.events import Events

Chunks = Callable[[], Iterable[Events]]
"""A function that returns an iterable over all events, in chunks, at each call."""

_WINDOW_US = 10_000
# A recording of milliseconds would be a single window.
_FEWEST_WINDOWS = 20
_MOST_WINDOWS = 1 << 20


@dataclass(frozen=True, eq=False)
class Survey:
    """Statistics of a stream of events.

    Attributes:
        events: Number of events.
        on: Number of ON events.
        start_us: The earliest time; 0 without events.
        end_us: The latest time + 1, so that all events are in [start_us, end_us).
        backwards: Number of events that are earlier than their predecessor.
        window_us: Length of the windows of `counts`: about 10 ms, less in a stream of under 200 ms.
        counts: Events per polarity (1 is ON) in consecutive windows from start_us on, int64, shape (2, windows).
    """

    events: int
    on: int
    start_us: int
    end_us: int
    backwards: int
    window_us: int
    counts: NDArray[np.int64]

    @property
    def duration_us(self) -> int:
        """Time from the start to the end in µs."""
        return self.end_us - self.start_us

    @property
    def on_share(self) -> float:
        """Fraction of ON events; 0 without events."""
        return self.on / max(1, self.events)

    @property
    def mean_rate(self) -> float:
        """Mean event rate in events/s."""
        return 1e6 * self.events / max(1, self.duration_us)

    @property
    def peak_rate(self) -> float:
        """Event rate in events/s in the window with the most events."""
        return 1e6 * int(self.counts.sum(axis=0).max(initial=0)) / self.window_us

    def busiest(self, span_us: int) -> tuple[int, int]:
        """The interval [start, end) in µs, of about `span_us`, with the most events; all if the stream is shorter."""
        windows = self.counts.shape[1]
        wide = min(windows, max(1, round(span_us / self.window_us)))
        sums = np.concatenate([[0], np.cumsum(self.counts.sum(axis=0))])
        first = int(np.argmax(sums[wide:] - sums[: windows + 1 - wide]))
        start = self.start_us + first * self.window_us
        return start, min(start + wide * self.window_us, self.end_us)


def survey_events(chunks: Chunks) -> Survey:
    """Compute the statistics of a stream; it is read twice, because the windows depend on its first and last time."""
    events = on = backwards = 0
    start = end = 0
    previous: int | None = None
    for chunk in _with_events(chunks):
        low, high = int(chunk.t.min()), int(chunk.t.max()) + 1
        start, end = (low, high) if events == 0 else (min(start, low), max(end, high))
        backwards += int(np.count_nonzero(chunk.t[1:] < chunk.t[:-1]))
        backwards += previous is not None and int(chunk.t[0]) < previous
        previous = int(chunk.t[-1])
        events += len(chunk)
        on += int(np.count_nonzero(chunk.p))
    wanted = min(max(1, min(end - start, _FEWEST_WINDOWS), round((end - start) / _WINDOW_US)), _MOST_WINDOWS)
    window_us = max(1, math.ceil((end - start) / wanted))
    # Fewer than wanted may do, because a window is a whole number of microseconds.
    windows = max(1, math.ceil((end - start) / window_us))
    counts = np.zeros((2, windows), np.int64)
    for chunk in _with_events(chunks):
        cells = chunk.p.astype(np.int64) * windows + (chunk.t - start) // window_us
        counts += np.bincount(cells, minlength=2 * windows).reshape(2, windows)
    return Survey(events, on, start, end, backwards, window_us, counts)


@dataclass(frozen=True, eq=False)
class Excerpt:
    """An interval of a stream, small enough to draw.

    Attributes:
        start_us: Start of the interval.
        end_us: End of the interval, exclusive.
        shown: Evenly selected events of the interval, about as many as requested.
        frames: Counts in bins of equal duration, int64, shape (bins, 2, H, W).
    """

    start_us: int
    end_us: int
    shown: Events
    frames: NDArray[np.int64]


def take_excerpt(
    chunks: Chunks, start_us: int, end_us: int, height: int, width: int, *, bins: int, most_events: int
) -> Excerpt:
    """Bin the events with start_us <= t < end_us, and select some of them to draw."""
    inside = sum(int(np.count_nonzero(_within(chunk, start_us, end_us))) for chunk in _with_events(chunks))
    step = max(1, -(-inside // most_events))
    frames = np.zeros(bins * 2 * height * width, np.int64)
    bin_us = max(1, -(-(end_us - start_us) // bins))
    shown = []
    seen = 0
    for chunk in _with_events(chunks):
        events = chunk[_within(chunk, start_us, end_us)]
        cells = (events.t - start_us) // bin_us * (2 * height * width) + events.address().astype(np.int64)
        np.add.at(frames, cells, 1)
        shown.append(events[-seen % step :: step])
        seen += len(events)
    shape = (bins, 2, height, width)
    return Excerpt(start_us, end_us, Events.concatenate(shown, height, width), frames.reshape(shape))


def _within(events: Events, start_us: int, end_us: int) -> NDArray[np.bool_]:
    return (events.t >= start_us) & (events.t < end_us)


def _with_events(chunks: Chunks) -> Iterator[Events]:
    return (chunk for chunk in chunks() if len(chunk))
