"""The order of events in time: count the events that are out of order, and sort recordings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from preprocess.events import Events


def count_backwards(t: NDArray[np.int64]) -> int:
    """Count the times, int64 (N,), that are earlier than their predecessor."""
    return int(np.count_nonzero(t[1:] < t[:-1]))


def sort_chunks(chunks: Iterable[Events]) -> tuple[list[Events], int]:
    """Sort the events of a recording by time; events with equal times keep their order.

    Args:
        chunks: The events of one recording, in recording order.

    Returns:
        The sorted events, in chunks, and how many of them were earlier than their predecessor.
    """
    kept = [chunk for chunk in chunks if len(chunk)]
    edges = np.array([time for chunk in kept for time in (chunk.t[0], chunk.t[-1])], np.int64)
    moved = sum(count_backwards(chunk.t) for chunk in kept) + int(np.count_nonzero(edges[2::2] < edges[1:-1:2]))
    if moved:
        events = Events.concatenate(kept, kept[0].height, kept[0].width)
        kept = [events[np.argsort(events.t, kind="stable")]]
    return kept, moved
