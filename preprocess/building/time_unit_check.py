"""Plausibility of the timestamps of recordings that do not state the unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preprocess.formats.column_recording import ColumnRecording
from preprocess.formats.read_options import TimeUnit
from preprocess.formats.registry import formats_of
from preprocess.store.event_store import EventStore

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout

# Plausible samples last from a saccade to a long gesture; the refractory period limits the rate of a pixel.
SHORTEST_US = 1_000
LONGEST_US = 60_000_000
MOST_EVENTS_PER_S_AND_PIXEL = 1_000


def first_without_unit(layout: Layout) -> ColumnRecording | None:
    """Return the first recording of a folder that does not state the unit of its times, or None.

    Files of one suffix are taken to be alike, so one of each is opened.
    """
    # The unit of a published data set is known.
    by_suffix = {r.path.suffix.lower(): r for r in reversed(layout.recordings)} if layout.dataset == "folder" else {}
    for suffix, recording in by_suffix.items():
        if any("time_unit" in kind.OPTIONS for kind in formats_of(suffix)):
            opened = layout.open(recording)
            if isinstance(opened, ColumnRecording) and opened.unit is None:
                return opened
    return None


def check_sample_times(layout: Layout, store: EventStore) -> str | None:
    """Return a warning if samples without a stated unit are implausible in that in which they were read, or None."""
    opened = first_without_unit(layout)
    if opened is None:
        return None
    spans = np.diff(store.samples.interval_us)[:, 0]
    pixels = store.height * store.width
    return check_times(spans, store.samples.events, pixels, opened.time_unit, cut=bool(layout.windows))


def check_times(
    spans_us: NDArray[Any], events: NDArray[Any], pixels: int, unit: TimeUnit | None, *, cut: bool = False
) -> str | None:
    """Return a warning if the median sample is implausibly long, short or dense, or None.

    Args:
        spans_us: Durations of the samples in µs, shape (N,), N >= 1.
        events: Number of events of each sample, shape (N,).
        pixels: Number of pixels of the sensor.
        unit: The unit in which the times were read; None if it was assumed.
        cut: Whether the samples are windows of a requested length, so that their duration is not checked.
    """
    span = float(np.median(spans_us))
    rate = float(np.median(1e6 * events / np.maximum(spans_us, 1))) / pixels
    too_long_or_short = not SHORTEST_US <= span <= LONGEST_US and not cut
    if not too_long_or_short and rate <= MOST_EVENTS_PER_S_AND_PIXEL:
        return None
    taken = f"as --time-unit {unit} says" if unit else "as us, because no --time-unit was given"
    return (
        f"Warning: the times were read {taken}. The median sample then lasts {span / 1e6:,.6g} s, with {rate:,.1f} "
        f"events per second and pixel; expected {SHORTEST_US / 1e6:g} to {LONGEST_US / 1e6:g} s and at most "
        f"{MOST_EVENTS_PER_S_AND_PIXEL:,}. If the unit is wrong, give it: --time-unit s, ms, us or ns."
    )
