"""The order of events in time: how often it is broken, and sorting what a recording holds out of order."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from preprocess.events import Events


def count_backwards(t: NDArray[np.int64]) -> int:
    """How many of the times, int64 (N,), are earlier than the one before."""
    return int(np.count_nonzero(t[1:] < t[:-1]))


def sort_chunks(chunks: Iterable[Events]) -> tuple[list[Events], int]:
    """Sort the events of a recording by time; those of equal times keep their order.

    Args:
        chunks: Of one recording, in recording order.

    Returns:
        The events, in chunks; and how many of them were earlier than the event before them.
    """
    held = [chunk for chunk in chunks if len(chunk)]
    edges = np.array([time for chunk in held for time in (chunk.t[0], chunk.t[-1])], np.int64)
    moved = sum(count_backwards(chunk.t) for chunk in held) + int(np.count_nonzero(edges[2::2] < edges[1:-1:2]))
    if moved:
        events = Events.concatenate(held, held[0].height, held[0].width)
        held = [events[np.argsort(events.t, kind="stable")]]
    return held, moved
