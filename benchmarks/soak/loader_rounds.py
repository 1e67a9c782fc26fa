"""The process of the part `loaders`: reads a cache in every way until its time is over, and prints what it saw.

``python -m benchmarks.soak.loader_rounds CACHE EVENTS MINUTES``: the cache folder of a data set, the number of its
events, and how long to read.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.soak.watching import handles_of, memory_mb
from pipeline.config.run_config import InputConfig
from pipeline.data.dataset import FrameDataset
from pipeline.data.loader import FrameLoader
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames
from preprocess.store.frame_source import EventFrames

_COUNTS = InputConfig(encoding="counts")
# Starting processes takes longer than reading.
_WITH_WORKERS = 10
# Two in each quarter of the time, which growth is measured between.
_LEAST = 12


def main(cache: Path, events: int, minutes: float) -> None:
    """Read until the time is over; one line of JSON with the rounds, or with the first wrong sum."""
    # The sums are checks: threads that wait for each other would take most of the time on a busy machine.
    torch.set_num_threads(1)
    end, rounds = time.monotonic() + 60 * minutes, 0
    rows = []
    while time.monotonic() < end or rounds < _LEAST:
        for name, total in _sums(cache, rounds):
            if total != events:
                print(json.dumps({"wrong": f"round {rounds}, {name}: expected {events:,} events, found {total:,.0f}"}))
                return
        rounds += 1
        _return_free_memory()
        rows.append((time.monotonic(), 0.0, memory_mb("self"), handles_of("self"), threading.active_count()))
    # At most a thousand rounds are printed.
    print(json.dumps({"rounds": rounds, "rows": rows[:: 1 + len(rows) // 1000]}))


def _return_free_memory() -> None:
    """Make glibc return what is free to the system, so that growth is that of memory in use.

    Where a process forks workers again and again, as DataLoader does, small objects that stay come to lie between large
    ones that go: glibc's heap grows although most of it is free.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _sums(cache: Path, number: int) -> Iterator[tuple[str, float]]:
    """The sum of all frames, which is the number of events, by each way to load them."""
    frames, store = open_frames(cache / "frames"), open_events(cache / "events.h5")
    everything, device = np.arange(len(frames)), torch.device("cpu")
    for name, source in (("frame cache", frames), ("event store", EventFrames(store, frames.binning))):
        loader = FrameLoader(source, everything, 32, _COUNTS, device, seed=1, training=True, keep_last=True)
        yield name, sum(_events(batch.frames) for batch in loader.batches(number))
    workers = 2 if number % _WITH_WORKERS == 0 else 0
    plain = DataLoader(FrameDataset(frames, config=_COUNTS), batch_size=32, num_workers=workers)
    yield f"torch's DataLoader, {workers} workers", sum(_events(batch) for batch, _ in plain)


def _events(frames: torch.Tensor) -> float:
    """The number of events of a batch; exact in float32 below 2^24, and without the copy that float64 needs."""
    return float(frames.sum())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
