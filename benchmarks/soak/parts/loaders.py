"""Loaders for an hour: no growth of memory, handles or threads, and every round has every event."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.soak.outcome import Outcome, Setting
from benchmarks.soak.recordings import random_recording, write_folder
from benchmarks.soak.watching import Place, growth_of, run

_FILES, _EVENTS = 64, 20_000
_GROWTH_MB = 16


def run_part(setting: Setting) -> Outcome:
    """Build a cache and read it for the time of the setting."""
    files = setting.count(_FILES, 24)
    base = random_recording(_EVENTS, 64, 64, seed=4)
    source, cache = write_folder(setting.folder / "raw", base, files), setting.folder / "cache"
    words = ["folder", "--name", "soak", "--source", source, "--cache", cache, "--timesteps", 10]
    minutes = setting.minutes * setting.scale
    with Place() as place:
        built = run(place, ["-m", "preprocess", "preprocess", *words])
        read = run(place, ["-m", "benchmarks.soak.loader_rounds", cache / "soak", files * _EVENTS, minutes])
    outcome = Outcome(f"{files} samples read for {minutes:.3g} min: caches, events, DataLoader", read.usage)
    for name, ended in (("preprocess", built), ("the loaders", read)):
        outcome.expect(f"exit code 0 of {name}", ended.code == 0, f"{ended.code}: {ended.last_line}")
    if outcome.failures:
        return outcome
    found = json.loads(read.out)
    if "wrong" in found:
        outcome.failures.append(found["wrong"])
        return outcome
    rows = [tuple(row) for row in found["rows"]]
    outcome.figures = f"{found['rounds']:,} rounds, {3 * found['rounds'] * files / (60 * minutes):,.0f} samples/s"
    growth, handles = growth_of([row[:4] for row in rows])
    outcome.usage = replace(read.usage, growth_mb=growth, handles_growth=handles)
    outcome.failures += growth_errors(rows)
    return outcome


def growth_errors(rows: Sequence[tuple[float, float, float, int, int]]) -> list[str]:
    """A line for memory, handles and threads that grew; rows as `growth_of` takes them, and the number of threads."""
    growth, handles = growth_of([row[:4] for row in rows])
    errors = []
    if growth is None or handles is None:
        return [f"expected enough rounds to measure growth, found {len(rows)}"]
    if growth > _GROWTH_MB:
        errors.append(f"expected memory to grow by at most {_GROWTH_MB} MB, found {growth:.1f} MB")
    if handles > 0:
        errors.append(f"expected no more open handles at the end, found {handles} more")
    quarter = max(1, len(rows) // 4)
    threads = statistics.median(row[4] for row in rows[-quarter:]) - statistics.median(row[4] for row in rows[:quarter])
    if threads > 0:
        errors.append(f"expected no more threads at the end, found {threads:g} more")
    return errors
