"""Plausibility of the timestamps of arrays, whose files do not store the unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preprocess.formats import ArrayOptions
from preprocess.formats.array_columns import ARRAY_SUFFIXES
from preprocess.store.event_store import EventStore

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout

# Plausible samples last from a saccade to a long gesture; the refractory period limits the rate of a pixel.
SHORTEST_US = 1_000
LONGEST_US = 60_000_000
MOST_EVENTS_PER_S_AND_PIXEL = 1_000


def check_sample_times(layout: Layout, store: EventStore) -> str | None:
    """Return a warning if the samples of arrays are implausible in the unit in which they were read, or None."""
    # The unit of a published data set is known.
    arrays = (recording for recording in layout.recordings if recording.path.suffix.lower() in ARRAY_SUFFIXES)
    if layout.dataset != "folder" or next(arrays, None) is None:
        return None
    spans = np.diff(store.samples.interval_us)[:, 0]
    return check_times(spans, store.samples.events, store.height * store.width, layout.arrays, cut=bool(layout.windows))


def check_times(
    spans_us: NDArray[Any], events: NDArray[Any], pixels: int, arrays: ArrayOptions, *, cut: bool = False
) -> str | None:
    """Return a warning if the median sample is implausibly long, short or dense, or None.

    Args:
        spans_us: Durations of the samples in µs, shape (N,), N >= 1.
        events: Number of events of each sample, shape (N,).
        pixels: Number of pixels of the sensor.
        arrays: The options of arrays, with the unit if one was given.
        cut: Whether the samples are windows of a requested length, so that their duration is not checked.
    """
    span = float(np.median(spans_us))
    rate = float(np.median(1e6 * events / np.maximum(spans_us, 1))) / pixels
    too_long_or_short = not SHORTEST_US <= span <= LONGEST_US and not cut
    if not too_long_or_short and rate <= MOST_EVENTS_PER_S_AND_PIXEL:
        return None
    taken = f"as --time-unit {arrays.time_unit} says" if arrays.time_unit else "as us, because no --time-unit was given"
    return (
        f"Warning: the times were read {taken}. The median sample then lasts {span / 1e6:,.6g} s, with {rate:,.1f} "
        f"events per second and pixel; expected {SHORTEST_US / 1e6:g} to {LONGEST_US / 1e6:g} s and at most "
        f"{MOST_EVENTS_PER_S_AND_PIXEL:,}. If the unit is wrong, give it: --time-unit s, ms, us or ns."
    )
