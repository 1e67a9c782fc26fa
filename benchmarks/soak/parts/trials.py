"""A search of 5,000 tiny trials: each runs once and is recorded once, and the process that runs it does not grow."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.soak.outcome import Outcome, Setting
from benchmarks.soak.watching import Place, run
from benchmarks.trial_overhead import SECONDS_PER_TRIAL

_TRIALS = 5000
# Ray keeps its record of each trial, with the configuration and the last result, until the search ends.
_GROWTH_KB_PER_TRIAL = 25
_HANDLES = 5


def run_part(setting: Setting) -> Outcome:
    """Run the search as a script, and compare what ran with what is recorded."""
    trials = setting.count(_TRIALS, 12)
    out, log = setting.folder / "search", setting.folder / "ran.txt"
    with Place() as place:
        ended = run(place, ["-m", "benchmarks.soak.objective_script", out, trials, log])
        left = place.wait_until_empty()
    outcome = Outcome(f"a search of {trials:,} trials that only report a number", ended.usage)
    outcome.expect("exit code 0", ended.code == 0, f"{ended.code}: {ended.last_line}")
    outcome.expect("no process left", not left, left)
    if ended.code:
        return outcome
    outcome.failures += search_errors(out, log, trials)
    ends = sorted(path.stat().st_mtime for path in out.glob("trials/*/done.json"))
    each = (ends[-1] - ends[0]) / max(1, len(ends) - 1)
    outcome.figures = f"{1000 * each:.0f} ms per trial"
    outcome.expect(f"at most {1000 * SECONDS_PER_TRIAL:.0f} ms per trial", each <= SECONDS_PER_TRIAL, outcome.figures)
    growth, handles = ended.usage.growth_mb or 0.0, ended.usage.handles_growth or 0
    # A small search is over before its process has loaded everything.
    if trials >= 1000:
        # From the middle of the second quarter of the time to that of the last one, half of the trials end.
        each_kb = 1000 * growth / (trials / 2)
        bound = f"memory to grow by at most {_GROWTH_KB_PER_TRIAL} kB per trial"
        outcome.expect(bound, each_kb <= _GROWTH_KB_PER_TRIAL, f"{each_kb:.1f} kB")
        outcome.expect(f"at most {_HANDLES} more open handles", handles <= _HANDLES, handles)
    return outcome


def search_errors(out: Path, log: Path, trials: int) -> Iterator[str]:
    """A line if trials did not run, ran twice, or are not recorded with the value that they reported."""
    ran = Counter(float(line) for line in log.read_text().splitlines())
    twice = [x for x, times in ran.items() if times > 1]
    if len(ran) != trials or twice:
        yield f"expected each of {trials} trials to run once, found {len(ran)} that ran, {len(twice)} of them twice"
    recorded = Counter()
    for path in out.glob("trials/*/done.json"):
        record, x = json.loads(path.read_text()), json.loads((path.parent / "config.json").read_text())["x"]
        if record["status"] != "done" or record["score"] != x or record["epochs"] != 1:
            yield f"trial {path.parent.name}: expected done with the score {x}, found {record}"
        recorded[x] += 1
    if recorded != Counter(dict.fromkeys(ran, 1)):
        yield f"expected a record of every trial that ran, found {len(recorded)} of {len(ran)}"
    with (out / "results.csv").open(newline="") as file:
        rows = [(row["status"], float(row["x"])) for row in csv.DictReader(file)]
    if Counter(rows) != Counter({("done", x): 1 for x in ran}):
        yield f"expected {trials} rows that are done in results.csv, found {len(rows)}"
