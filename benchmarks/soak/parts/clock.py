"""A clock that jumps by days and years every two seconds, and recordings from the future.

Time is patched inside the processes (`benchmarks.soak.injected.clock`): `time.time`, which Python code uses; neither
`datetime` nor Ray's C++ servers see the jumps.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.soak import ledger_check
from benchmarks.soak.outcome import Outcome, Setting, first_lines
from benchmarks.soak.tiny_search import DATASET, new_search, prepare, resumed
from benchmarks.soak.watching import REPOSITORY, Place, Usage, run

EPOCHS = 3
_INJECTED = REPOSITORY / "benchmarks" / "soak" / "injected" / "clock"
_YEAR_S = 31_536_000


def run_part(setting: Setting) -> Outcome:
    """Preprocess and search while the clock jumps, and compare with a search while it does not."""
    trials = setting.count(24, 4)
    folder = setting.folder
    outcome = Outcome(f"preprocess, and a search of {trials} trials, while the clock jumps by years", Usage())
    with Place() as place:
        failed = prepare(folder, place, EPOCHS)
        for ended in failed:
            outcome.failures.append(f"expected a cache of digits, found: {ended.last_line}")
            return outcome
        for k, path in enumerate(sorted((folder / "raw").rglob("*.aedat"))):
            moment = time.time() + (50 if k % 2 else -40) * _YEAR_S
            os.utime(path, (moment, moment))
        jumping = [_INJECTED]
        words = ["-m", "preprocess", "preprocess", DATASET, "--source", folder / "raw", "--json"]
        built = [run(place, [*words, "--cache", folder / "jumping"], path=jumping) for _ in range(2)]
        out, plain = folder / "search", folder / "plain"
        searched = run(place, new_search(folder, out, trials), path=jumping)
        again = run(place, resumed(out), path=jumping)
        beside = run(place, new_search(folder, plain, trials))
        status = run(place, ["-m", "tune", "status", out], path=jumping)
        commands = (*built, searched, again, beside, status)
        for ended in commands:
            fine = ended.code == 0 and "Traceback" not in ended.err
            outcome.expect("exit code 0 and no traceback", fine, f"{ended.code}: {ended.last_line}")
            outcome.usage = outcome.usage + ended.usage
    if not outcome.failures:
        stores = [(folder / name / DATASET / "events.h5") for name in ("cache", "jumping")]
        outcome.failures += store_errors(*stores)
        outcome.failures += first_lines(ledger_check.errors_of(out, EPOCHS))
        outcome.failures += first_lines(ledger_check.errors_at_the_end(out, trials))
        outcome.failures += first_lines(same_results(out, plain))
        outcome.failures += first_lines(times_of(out))
    return outcome


def store_errors(plain: Path, jumping: Path) -> Iterator[str]:
    """A line if the events of two stores differ."""
    from preprocess.store.event_store import open_events

    stores = [open_events(path) for path in (plain, jumping)]
    if stores[0].samples.crc32.tolist() != stores[1].samples.crc32.tolist():
        yield "expected the events of a steady clock, found others"


def same_results(folder: Path, plain: Path) -> Iterator[str]:
    """A line for each trial whose metrics are not those of the same trial in another search."""
    for path in sorted(plain.glob("trials/*/metrics.jsonl")):
        found = folder / "trials" / path.parent.name / "metrics.jsonl"
        if not found.exists() or found.read_text() != path.read_text():
            yield f"trial {path.parent.name}: expected the metrics of an undisturbed search, found others"


def times_of(folder: Path) -> Iterator[str]:
    """A line for each trial with a duration that is negative or longer than an hour."""
    for path in sorted(folder.glob("trials/*/timings.jsonl")):
        for line in path.read_text().splitlines():
            seconds = json.loads(line)["epoch_s"]
            if not 0 <= seconds < 3600:
                yield f"trial {path.parent.name}: expected an epoch of 0 to 3600 s, found {seconds} s"
