"""Whether the times of arrays look like a camera's: their files do not say in which unit the times are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preprocess.formats import ArrayOptions
from preprocess.formats.array_columns import ARRAY_SUFFIXES
from preprocess.store.event_store import EventStore

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout

# Labelled samples last from a saccade to a long gesture, and pixels pause after each event.
SHORTEST_US = 1_000
LONGEST_US = 60_000_000
MOST_EVENTS_PER_S_AND_PIXEL = 1_000


def doubt_samples(layout: Layout, store: EventStore) -> str | None:
    """A warning where the samples of arrays are implausible for the unit that their times were taken in, or None."""
    # The unit of a published data set is known.
    arrays = (recording for recording in layout.recordings if recording.path.suffix.lower() in ARRAY_SUFFIXES)
    if layout.dataset != "folder" or next(arrays, None) is None:
        return None
    spans = np.diff(store.samples.interval_us)[:, 0]
    return doubt_times(spans, store.samples.events, store.height * store.width, layout.arrays, cut=bool(layout.windows))


def doubt_times(
    spans_us: NDArray[Any], events: NDArray[Any], pixels: int, arrays: ArrayOptions, *, cut: bool = False
) -> str | None:
    """A warning where the median sample is implausibly long, short or dense, or None.

    Args:
        spans_us: Durations of the samples in µs, shape (N,), N >= 1.
        events: Their events, shape (N,).
        pixels: Of the sensor.
        arrays: The unit that was given, if one was.
        cut: Whether the samples were cut to a length asked for, which then says nothing.
    """
    span = float(np.median(spans_us))
    rate = float(np.median(1e6 * events / np.maximum(spans_us, 1))) / pixels
    too_long_or_short = not SHORTEST_US <= span <= LONGEST_US and not cut
    if not too_long_or_short and rate <= MOST_EVENTS_PER_S_AND_PIXEL:
        return None
    taken = f"as --time-unit {arrays.time_unit} says" if arrays.time_unit else "as us, because no --time-unit was given"
    return (
        f"Warning: the times were read {taken}: the median duration is then {span / 1e6:,.6g} s, at {rate:,.1f} events "
        f"per second and pixel; expected {SHORTEST_US / 1e6:g} to {LONGEST_US / 1e6:g} s and at most "
        f"{MOST_EVENTS_PER_S_AND_PIXEL:,}. If the unit is another, give it: --time-unit s, ms, us or ns."
    )
