"""Run parts of the soak, and print their table: ``python -m benchmarks.soak [PART...]``.

A part that has passed at the same size is not run again, so that an interrupted soak continues.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.soak.outcome import Outcome, Setting, failures_of, format_table
from benchmarks.soak.parts import clock, disk, events, home, kills, loaders, locks, long_samples, samples, trials
from preprocess.files import read_json, write_json

PARTS: Mapping[str, Callable[[Setting], Outcome]] = {
    "samples": samples.run_part,
    "timesteps": long_samples.run_timesteps,
    "sensor": long_samples.run_sensor,
    "home": home.run_part,
    "clock": clock.run_part,
    "disk": disk.run_part,
    "locks": locks.run_part,
    "events": events.run_part,
    "loaders": loaders.run_part,
    "trials": trials.run_part,
    "kills": kills.run_part,
}

CONTINUED = ("events", "samples", "kills")
"""Parts that continue what an interruption left: recordings that were written, kills that were done."""


@dataclass(frozen=True)
class Arguments:
    """Load and soak: large stores and searches, long runs, and accidents, each with a check of its results.

    samples: 100,000 small samples in one cache. timesteps: T = 500. sensor: 1280x720. home: a read-only home.
    clock: clock jumps. disk: a full disk. locks: lost locks. events: 10^9 events in one store. loaders: an hour of
    reading. trials: a search of 5,000 trials. kills: 50 kills of worker, driver, raylet and head in one search.

    Example: python -m benchmarks.soak samples kills --json runs/soak/result.json
    """

    parts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Names of the parts to run; default: all."""
    scale: float = 1.0
    """Size and duration of every part as a fraction of the full one."""
    minutes: float = 60.0
    """Minutes for which the loaders read, at full scale."""
    kills: int = 50
    """Number of kills, at full scale."""
    json: Path = Path("runs/soak/result.json")
    """File with the results so far."""
    show: bool = False
    """Only print the table of the results so far, of all parts."""
    work: Path = Path("runs/soak/work")
    """Folder for the files of the parts, about 20 GB at full scale; those of a part are removed once it has passed."""


def main(arguments: Arguments) -> int:
    """Run the parts, print the table, and return 1 if a promise was not kept."""
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        raise SystemExit(f"benchmarks: expected parts among {', '.join(PARTS)}, found {', '.join(unknown)}")
    # Parts end what they started and unmount what they mounted, also when they are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    chosen = arguments.parts or tuple(PARTS)
    for name in () if arguments.show else chosen:
        size = _size(arguments, name)
        known = (read_json(arguments.json) or {}).get(name)
        if known is not None and known["size"] == size and not Outcome.from_dict(known["outcome"]).failures:
            continue
        print(f"benchmarks: {name} ...", file=sys.stderr, flush=True)
        folder = arguments.work.absolute() / name
        # What another size left is of no use, nor what an interrupted part left, but for those that take it up.
        if name not in CONTINUED or (read_json(folder / "size.json") or size) != size:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "size.json", size)
        outcome = PARTS[name](Setting(folder, arguments.scale, arguments.minutes, arguments.kills))
        results = read_json(arguments.json) or {}
        write_json(arguments.json, results | {name: {"size": size, "outcome": outcome.to_dict()}})
        # A part that failed starts from the beginning next time; what it left can be looked at until then.
        if not outcome.failures:
            shutil.rmtree(folder)
        else:
            folder.rename(_failed(folder))
    results = read_json(arguments.json) or {}
    outcomes = {name: Outcome.from_dict(results[name]["outcome"]) for name in PARTS if name in results}
    print(format_table(outcomes))
    failures = failures_of({name: outcomes[name] for name in chosen if name in outcomes})
    for line in failures:
        print(f"benchmarks: {line}", file=sys.stderr)
    return 1 if failures else 0


def _failed(folder: Path) -> Path:
    """Where the files of a failed part are kept until it fails again."""
    path = folder.with_name(f"{folder.name}-failed")
    shutil.rmtree(path, ignore_errors=True)
    return path


def _size(arguments: Arguments, name: str) -> dict[str, float]:
    """What the result of a part depends on."""
    size = {"scale": arguments.scale}
    if name == "loaders":
        size["minutes"] = arguments.minutes
    if name == "kills":
        size["kills"] = arguments.kills
    return size


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
