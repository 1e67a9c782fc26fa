"""Scaling of preprocessing: over events, over workers, and to a data set of full size; each run is a process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks import recordings
from benchmarks.children import Child, preprocess_apart
from benchmarks.measuring import Row
from preprocess.events import Events


def compare_workers(folder: Path, clips: list[Events], events: int, repeats: int) -> Row:
    """Compare two workers with one, on sixteen recordings."""
    source = recordings.write_gesture_folder(
        folder / "recordings", clips, recordings=16, samples=16 * len(clips), events=events, seed=2
    )
    best: dict[int, float] = {}
    for _ in range(repeats):
        for workers in (1, 2):
            child = _preprocess(source, folder / "cache", workers=workers)
            best[workers] = min(child.work_s, best.get(workers, child.work_s))
    shutil.rmtree(folder)
    work = f"16 recordings of {events / 16e6:g} M events, two workers compared with one"
    return Row(work, f"{best[2]:.2f} s", f"one worker {best[1]:.2f} s", best[1] / best[2], 1.7)


def measure_growth(folder: Path, clips: list[Events], sizes: list[int], repeats: int) -> dict[int, Child]:
    """Measure one recording of each size with one worker; return the fastest of the repeats."""
    children = {}
    for events in sizes:
        source = recordings.write_gesture_folder(
            folder / str(events), clips, recordings=1, samples=len(clips), events=events, seed=4
        )
        times = repeats if events <= 10**7 else 1
        runs = [_preprocess(source, folder / "cache") for _ in range(times)]
        children[events] = min(runs, key=lambda child: child.work_s)
        shutil.rmtree(source)
    return children


def growth_rows(children: dict[int, Child]) -> Iterator[Row]:
    """The rows on the start of a process with compiled kernels, and on time over events."""
    small, large = min(children), max(children)
    start = children[small].whole_s
    yield Row(f"second process, {small:,} events, from start to end", f"{start:.2f} s", "", start, 1.5, less=True)
    if large > small:
        middle = sorted(children)[-2]
        growth = children[large].work_s / children[middle].work_s / (large / middle)
        work = f"time per event, {large:,} compared with {middle:,} events"
        yield Row(work, f"{1e9 * children[large].work_s / large:.0f} ns", "", growth, 1.25, less=True)


def preprocess_full(folder: Path, clips: list[Events]) -> str:
    """Preprocess an emulated DVS128-Gesture of full size with two workers; return the result as a sentence."""
    count, samples, events = recordings.FULL_RECORDINGS, recordings.FULL_SAMPLES, recordings.FULL_EVENTS
    source = recordings.write_gesture_folder(
        folder / "recordings", clips, recordings=count, samples=samples, events=events, seed=5
    )
    child = _preprocess(source, folder / "cache", workers=2)
    size = sum(path.stat().st_size for path in source.iterdir())
    cached = sum(path.stat().st_size for path in (folder / "cache").rglob("*.h5"))
    shutil.rmtree(folder)
    return (
        f"Emulated DVS128-Gesture of full size, {count} recordings, {samples:,} samples, {child.events:,} events "
        f"({size / 1e9:.2f} GB): {child.work_s:.1f} s with two workers, {child.peak_mb:.0f} MB at most, "
        f"{cached / 1e9:.2f} GB of events and frames T = 20."
    )


def format_growth(children: dict[int, Child]) -> str:
    """Format time and memory over events as a Markdown table."""
    lines = ["| events | work | ns per event | process | peak memory |", "|---|---|---|---|---|"]
    for events, child in sorted(children.items()):
        cells = [f"{events:,}", f"{child.work_s:.2f} s", f"{1e9 * child.work_s / events:.0f}", f"{child.whole_s:.2f} s"]
        lines.append(f"| {' | '.join(cells)} | {child.peak_mb:.0f} MB |")
    return "\n".join(lines)


def plot_growth(children: dict[int, Child], path: Path) -> None:
    """Draw time over events."""
    from matplotlib import pyplot as plt

    plt.switch_backend("Agg")
    events = sorted(children)
    seconds = [children[n].work_s for n in events]
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    axes.loglog(events, seconds, "o-", color="tab:blue", label="spikeloom preprocess, T = 20, one worker")
    axes.loglog(events, [seconds[-1] * n / events[-1] for n in events], ":", color="grey", label="proportional")
    axes.set_xlabel("events of one emulated recording")
    axes.set_ylabel("work in s")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _preprocess(source: Path, cache: Path, *, workers: int = 1) -> Child:
    shutil.rmtree(cache, ignore_errors=True)
    # This run should not wait for pending writes of earlier ones.
    os.sync()
    return preprocess_apart(source, cache, workers=workers)
