"""The tables at the end of preprocess: contents and sizes of the caches, and the time to create them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preprocess.commands.left_out_notes import Remark
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.frame_cache import open_frames
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN, SampleTable

# If there are more classes than fit on a screen, only the smallest, the median and the largest are listed.
_MOST_CLASSES = 20


def print_summary(
    events: Path, frames: list[Path], built: list[Path], seconds: float, remarks: Iterable[Remark] = ()
) -> None:
    """Print samples per class and split, then the files, then the remarks.

    Args:
        events: The event store.
        frames: The requested frame caches.
        built: The files that this run created.
        seconds: Duration of the run.
        remarks: Remarks about the result.
    """
    from preprocess.terminal.console import console

    store = open_events(events)
    out = console()
    out.print(_samples_table(store))
    out.print(_files_table(store, frames, built))
    for remark in remarks:
        for line in remark.lines:
            out.print(line, highlight=False, markup=False)
    if built:
        source_mb = _source_bytes(events) / 1e6
        speed = f", {source_mb / seconds:,.0f} MB/s of recordings" if events in built else ""
        out.print(f"{len(built)} of {1 + len(frames)} caches made in {seconds:.1f} s{speed}.", highlight=False)
    else:
        line = f"Nothing to do: all caches exist and match their recordings ({seconds:.1f} s)."
        out.print(line, highlight=False)


def _source_bytes(events: Path) -> int:
    import h5py

    with h5py.File(events, "r") as file:
        return int(file["sources/size"][...].sum())


def _samples_table(store: EventStore) -> object:
    from rich.table import Table

    samples = store.samples
    splits = [(name, code) for name, code in (("train", TRAIN), ("test", TEST), ("no split", NO_SPLIT))]
    splits = [(name, code) for name, code in splits if np.any(samples.split == code)]
    table = Table(
        title=f"{store.path.parent.name} ({store.dataset}), {store.height}x{store.width} pixels (rows x columns)"
    )
    table.add_column("class", overflow="fold")
    for name in (*(name for name, _ in splits), "events", "events/sample", "seconds/sample"):
        table.add_column(name, justify="right")
    for title, chosen in _rows(store):
        counts = [f"{int(np.sum(samples.split[chosen] == code)):,}" for _, code in splits]
        table.add_row(title, *counts, *_amounts(samples, chosen))
    table.add_section()
    everything = np.arange(len(samples))
    totals = [f"{int(np.sum(samples.split == code)):,}" for _, code in splits]
    table.add_row("all", *totals, *_amounts(samples, everything), style="bold")
    return table


def _rows(store: EventStore) -> list[tuple[str, NDArray[np.int64]]]:
    """Classes and their sample numbers: all classes, or three if there are many."""
    label = store.samples.label
    if len(store.classes) <= _MOST_CLASSES:
        return [(name, np.flatnonzero(label == c)) for c, name in enumerate(store.classes)]
    counts = np.bincount(label, minlength=len(store.classes))
    order = np.argsort(counts, kind="stable")
    picks = (("fewest", order[0]), ("median", order[len(order) // 2]), ("most", order[-1]))
    return [
        (f"{store.classes[c]} ({which} samples among {len(order)} classes)", np.flatnonzero(label == c))
        for which, c in picks
    ]


def _amounts(samples: SampleTable, chosen: NDArray[np.int64]) -> tuple[str, str, str]:
    if len(chosen) == 0:
        return "0", "", ""
    events = samples.events[chosen]
    seconds = np.diff(samples.interval_us[chosen]).mean() / 1e6
    return f"{events.sum():,}", f"{events.mean():,.0f}", f"{seconds:.3f}"


def _files_table(store: EventStore, frames: list[Path], built: list[Path]) -> object:
    from rich.table import Table

    table = Table()
    table.add_column("file", overflow="fold")
    for name in ("contents", "MB", "bytes/event", "this run"):
        table.add_column(name, justify="right")
    total = int(store.samples.offset[-1])
    for path in (store.path, *frames):
        size = path.stat().st_size
        if path == store.path:
            contents = f"{total:,} events"
        else:
            cache = open_frames(path)
            steps = str(cache.timesteps)
            if cache.lengths.min() < cache.timesteps:
                steps = f"({cache.lengths.min()} to {cache.timesteps})"
            contents = f"{len(cache)} x {steps} x 2 x {cache.height} x {cache.width} {cache.dtype}"
        state = "made" if path in built else "reused"
        table.add_row(str(path), contents, f"{size / 1e6:,.2f}", f"{size / total:.2f}", state)
    return table
