"""Whether the ledger of a search lost a trial or ran one twice; independent of the code that writes it."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# A trial with this end never runs again; a failed one is tried again when the search resumes.
_FINAL = ("done", "pruned")
# Files that a finished trial has and that no later session writes.
_KEPT = ("done.json", "metrics.jsonl", "timings.jsonl", "result.json", "best.pt")


@dataclass(frozen=True)
class Snapshot:
    """The finished trials of a search at a moment.

    Attributes:
        finished: For each trial, the time of writing and the content of its files.
    """

    finished: dict[str, dict[str, str]] = field(default_factory=dict)


def take(folder: Path) -> Snapshot:
    """A snapshot of the search in a folder."""
    finished = {}
    for path in sorted(folder.glob("trials/*/done.json")):
        if json.loads(path.read_text())["status"] in _FINAL:
            finished[path.parent.name] = {name: _state(path.parent / name) for name in _KEPT}
    return Snapshot(finished)


def _state(path: Path) -> str:
    if not path.exists():
        return "missing"
    return f"{path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def errors_since(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """A line for each finished trial that is lost, or whose files were written again."""
    for trial, files in before.finished.items():
        now = after.finished.get(trial)
        if now is None:
            yield f"trial {trial}: finished before, expected it to be kept, found it lost"
            continue
        for name, state in files.items():
            if now[name] != state:
                what = "missing" if now[name] == "missing" else "written again: the trial ran twice"
                yield f"trial {trial}: finished before, expected the same {name}, found it {what}"


def errors_of(folder: Path, epochs: int) -> Iterator[str]:
    """A line for each trial with epochs that are missing, repeated or too many, finished or not."""
    for trial in sorted(folder.glob("trials/*")):
        record = _json(trial / "done.json")
        for name in ("metrics.jsonl", "timings.jsonl"):
            path = trial / name
            try:
                rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            except ValueError as error:
                yield f"trial {trial.name}: {name} is damaged ({error})"
                continue
            found = [row["epoch"] for row in rows]
            done = record is not None and record["status"] == "done"
            expected = list(range(1, (epochs if done else len(found)) + 1))
            if found != expected or len(found) > epochs:
                last = expected[-1] if expected else 0
                yield f"trial {trial.name}: expected epochs 1 to {last} in {name}, found {found}"


def _json(path: Path) -> dict[str, object] | None:
    return json.loads(path.read_text()) if path.exists() else None


def errors_at_the_end(folder: Path, trials: int) -> Iterator[str]:
    """A line for everything that a complete search lacks: ends of trials, and rows of its results."""
    ends = [json.loads(path.read_text())["status"] for path in folder.glob("trials/*/done.json")]
    if Counter(ends) != Counter({"done": trials}):
        yield f"expected {trials} trials that are done, found {dict(Counter(ends)) or 'none'}"
    path = folder / "results.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != trials or len({row["trial"] for row in rows}) != trials:
        yield f"expected {trials} different trials in results.csv, found {len(rows)} rows"
    listed = Counter(row["status"] for row in rows)
    if listed != Counter({"done": trials}):
        yield f"expected {trials} rows with status done in results.csv, found {dict(listed)}"
