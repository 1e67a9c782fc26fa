"""The rules that divide a sample into frames: each returns index ranges [l_i, r_i) of its events.

A new rule is a function here, a line in `RULES` and its name in `SplitBy`.

`number`, `time` and `duration` are bit-exact with SpikingJelly 2.0 wherever it returns a result; where it raises, a
range without events has l = r = the r before it, and the last range still ends at N. `time_window`,
`event_count`, `n_time_bins`, `n_event_bins` and `fixed_window` are bit-exact with tonic 1.7's slicers, which leave
out what does not fill a frame. `imported` and `imported_varying` name frames that were not binned here.

If times are not sorted, ranges may overlap, and a range with r < l is empty.

Times are in µs in recording order, int64, shape (N,); N >= 1. All ranges are int64, shape (F,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import ConfigError

if TYPE_CHECKING:
    from preprocess.binning.binning_config import Binning

EventRule = Literal[
    "number", "time", "duration", "time_window", "event_count", "n_time_bins", "n_event_bins", "fixed_window"
]
"""The rules that bin events."""

SplitBy = Literal[EventRule, "imported", "imported_varying"]
"""All rules; frames that other programs made are imported, with one T or with T that varies, and never binned here."""

MOST_FRAMES = 1 << 16
"""Maximum number of frames per sample; more are due to a wrong unit or a damaged timestamp."""

Ranges = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        fields: The fields of `Binning` that it uses besides `split_by` and `downsample`; it ignores the others.
        ranges: Called with the times of a sample, int64 (N,), and the binning; with ``range(N)`` without needs_times.
        needs_times: Whether the frames depend on the times of the events, not only on their number.
        drops: Whether even sorted events may be in no frame.
    """

    fields: tuple[str, ...]
    ranges: Callable[[Any, Binning], Ranges]
    needs_times: bool
    drops: bool


def by_number(events: int, timesteps: int) -> Ranges:
    """N // T events per frame; the last frame also has the remainder."""
    l = np.arange(timesteps, dtype=np.int64) * (events // timesteps)
    r = l + events // timesteps
    r[-1] = events
    return l, r


def by_time(t: NDArray[np.int64], timesteps: int) -> Ranges:
    """With width = (t[-1] - t[0]) // T: the first to the last event with t[0] + i * width <= t < t[0] + (i+1) * width.

    The last frame runs to N. An event between two others of a frame counts in it, whatever its time.
    """
    from preprocess.binning.counting_kernels import time_ranges

    l, r = np.empty((2, timesteps), np.int64)
    time_ranges(t, timesteps, l, r)
    r[-1] = len(t)
    return l, r


def by_duration(t: NDArray[np.int64], duration_us: int) -> Ranges:
    """Frames of `duration_us` from the earliest time on, F = max(1, ceil((t[-1] - min) / D)).

    The last frame also has the remainder. Frame i begins where a binary search finds t >= min + i * D.
    """
    from preprocess.binning.counting_kernels import search_borders

    start = int(t.min())
    borders = np.zeros(_few(max(1, -(-(int(t[-1]) - start) // duration_us))) + 1, np.int64)
    search_borders(t, start, duration_us, borders)
    borders[-1] = len(t)
    return borders[:-1], borders[1:]


def by_time_window(t: NDArray[np.int64], window_us: int, overlap_us: int, include_incomplete: bool) -> Ranges:
    """Windows of `window_us`, each `window_us - overlap_us` after its predecessor, from t[0] to t[-1]; at least one.

    A last window that would end behind t[-1] is left out, unless `include_incomplete`.
    """
    stride = window_us - overlap_us
    lacking = int(t[-1]) - int(t[0]) - window_us
    frames = _few(max(1, (-(-lacking // stride) if include_incomplete else lacking // stride) + 1))
    return _windows(t, int(t[0]) + np.arange(frames, dtype=np.int64) * stride, window_us)


def by_event_count(events: int, count: int, overlap: int, include_incomplete: bool) -> Ranges:
    """`count` events per frame, each starting `count - overlap` events after its predecessor.

    An incomplete last frame is kept only with `include_incomplete`. A sample with fewer events is one frame.
    """
    stride = count - overlap
    count = min(count, events)
    lacking = events - count
    frames = _few((-(-lacking // stride) if include_incomplete else lacking // stride) + 1)
    l = np.arange(frames, dtype=np.int64) * stride
    return l, np.minimum(l + count, events)


def by_time_bins(t: NDArray[np.int64], bins: int) -> Ranges:
    """Bins of (t[-1] - t[0]) // B from t[0] on; later events, including the last one, are left out."""
    width = (int(t[-1]) - int(t[0])) // bins
    return _windows(t, int(t[0]) + np.arange(bins, dtype=np.int64) * width, width)


def by_event_bins(events: int, bins: int) -> Ranges:
    """N // B events per frame; the remainder is left out."""
    l = np.arange(bins, dtype=np.int64) * (events // bins)
    return l, l + events // bins


def by_fixed_window(t: NDArray[np.int64], timesteps: int, duration_us: int, start_us: int) -> Ranges:
    """T frames of `duration_us` from `start_us` after the first event on, whether or not they contain events.

    These are tonic's time windows between a start and an end time.
    """
    starts = int(t[0]) + start_us + np.arange(timesteps, dtype=np.int64) * duration_us
    return _windows(t, starts, duration_us)


def refuse_to_bin(*_: object) -> Ranges:
    """The ranges of imported frames: a ConfigError."""
    raise ConfigError(
        "binning.split_by: expected a rule that bins events, such as number, found imported: how imported frames were "
        "binned is not known, so events cannot be binned alike. Give frames, or train on events."
    )


def _windows(t: NDArray[np.int64], starts: NDArray[np.int64], width_us: int) -> Ranges:
    return np.searchsorted(t, starts), np.searchsorted(t, starts + width_us)


def _few(frames: int) -> int:
    if frames > MOST_FRAMES:
        raise ConfigError(
            f"binning: expected at most {MOST_FRAMES:,} frames per sample, found {frames:,}. "
            "Choose longer frames or more events per frame."
        )
    return frames


def count_coverage(events: int, l: NDArray[np.int64], r: NDArray[np.int64]) -> tuple[int, int]:
    """The number of events in no range, and in more than one."""
    filled = l < r
    l, r = l[filled], r[filled]
    if np.all(l[1:] >= r[:-1]):
        # Consecutive ranges, as for sorted events.
        return events - int((r - l).sum()), 0
    borders = np.zeros(events + 1, np.int64)
    np.add.at(borders, l, 1)
    np.subtract.at(borders, r, 1)
    ranges = np.cumsum(borders[:-1])
    return int(np.count_nonzero(ranges == 0)), int(np.count_nonzero(ranges > 1))


def _given(value: int | None) -> int:
    if value is None:
        raise ValueError("expected every field of the rule of the binning, found None; call check() first")
    return value


RULES: dict[SplitBy, Rule] = {
    "number": Rule(
        ("timesteps",), lambda t, binning: by_number(len(t), binning.timesteps), needs_times=False, drops=False
    ),
    "time": Rule(("timesteps",), lambda t, binning: by_time(t, binning.timesteps), needs_times=True, drops=False),
    "duration": Rule(
        ("duration_us",), lambda t, binning: by_duration(t, _given(binning.duration_us)), needs_times=True, drops=False
    ),
    "time_window": Rule(
        ("duration_us", "overlap", "include_incomplete"),
        lambda t, binning: by_time_window(t, _given(binning.duration_us), binning.overlap, binning.include_incomplete),
        needs_times=True,
        drops=True,
    ),
    "event_count": Rule(
        ("event_count", "overlap", "include_incomplete"),
        lambda t, binning: by_event_count(
            len(t), _given(binning.event_count), binning.overlap, binning.include_incomplete
        ),
        needs_times=False,
        drops=True,
    ),
    "n_time_bins": Rule(
        ("timesteps",), lambda t, binning: by_time_bins(t, binning.timesteps), needs_times=True, drops=True
    ),
    "n_event_bins": Rule(
        ("timesteps",), lambda t, binning: by_event_bins(len(t), binning.timesteps), needs_times=False, drops=True
    ),
    "fixed_window": Rule(
        ("timesteps", "duration_us", "start_us"),
        lambda t, binning: by_fixed_window(t, binning.timesteps, _given(binning.duration_us), binning.start_us),
        needs_times=True,
        drops=True,
    ),
    "imported": Rule(("timesteps",), refuse_to_bin, needs_times=False, drops=False),
    "imported_varying": Rule((), refuse_to_bin, needs_times=False, drops=False),
}
"""Every rule by its name: those of SpikingJelly, tonic's, tonic's windows between two times, and imported frames."""
