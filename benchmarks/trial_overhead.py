"""What a trial costs beside its work: ``python -m benchmarks.trial_overhead``.

A search over an objective that only reports its value, as a script: time per trial from the first one's end to the last
one's, and the memory of the process that runs the search.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.measuring import Row, format_table
from tune import search

SECONDS_PER_TRIAL = 0.15
GROWTH = 1.1


@dataclass(frozen=True)
class Arguments:
    """Run a search of trials without any work.

    Example: python -m benchmarks.trial_overhead --trials 1000
    """

    trials: int = 1000
    tiny: bool = False
    """Only check with a few trials that the benchmark works."""


def report_value(values: dict[str, float], report: Callable[[float], None]) -> None:
    """The objective."""
    report(values["x"])


def main(arguments: Arguments) -> None:
    """Run the search and print the table."""
    trials = 8 if arguments.tiny else arguments.trials
    with tempfile.TemporaryDirectory(prefix="spikeloom-bench-") as name:
        folder = Path(name) / "search"
        samples: list[tuple[int, float, float]] = []
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(folder, samples, ended), daemon=True)
        watcher.start()
        found = search(objective=report_value, space={"x": "0.1:1"}, samples=trials, epochs=1, out=folder)
        ended.set()
        watcher.join()
        done = [record["status"] for record in found.frame().to_dict("records")].count("done")
        if done != trials:
            raise SystemExit(f"benchmarks: expected {trials} trials that are done, found {done}")
        ends = sorted(path.stat().st_mtime for path in folder.glob("trials/*/done.json"))
    print(format_table(rows(trials, ends, samples)))


def rows(trials: int, ends: list[float], samples: list[tuple[int, float, float]]) -> list[Row]:
    """The rows of the times at which trials ended, and of the samples of `_watch`."""
    each = (ends[-1] - ends[0]) / (trials - 1)
    work = f"{trials:,} trials without work: time per trial"
    found = [Row(work, f"{1000 * each:.0f} ms", "", each, SECONDS_PER_TRIAL, less=True)]
    quarter = [memory for done, _, memory in samples if trials / 4 <= done <= trials / 2]
    half = [memory for done, _, memory in samples if done > trials / 2]
    if quarter and half:
        early, late = statistics.median(quarter), statistics.median(half)
        what = "memory of the search's process, second half of the trials relative to the second quarter"
        found.append(Row(what, f"{late:.0f} MB", f"then {early:.0f} MB", late / early, GROWTH, less=True))
    return found


def _watch(folder: Path, samples: list[tuple[int, float, float]], ended: threading.Event) -> None:
    """Sample the number of ended trials, the time and this process's memory in MB."""
    while not ended.wait(0.5):
        done = sum(1 for _ in folder.glob("trials/*/done.json"))
        status = Path("/proc/self/status").read_text().splitlines()
        memory = next(int(line.split()[1]) / 1000 for line in status if line.startswith("VmRSS"))
        samples.append((done, time.monotonic(), memory))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
