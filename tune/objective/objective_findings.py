"""What the folder of an objective's search shows, finished or not: its trials, what they reported, and the best one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from preprocess.errors import RunError, reason_of
from preprocess.files import read_json
from preprocess.folder_lock import is_locked
from preprocess.json_types import misfit
from preprocess.terminal.plural import counted
from tune.objective.objective_folder import FILE
from tune.objective.objective_search import ELSEWHERE, ObjectiveJson, ObjectiveLedger, ObjectiveSearch
from tune.rendering.labels import duration, short_value
from tune.rendering.table import Table

_SHOWN = 16
_ORDER = ("running", "interrupted", "failed", "done", "pruned", "waiting")


@dataclass(frozen=True, eq=False)
class ObjectiveFindings:
    """The search of an objective at one moment.

    Attributes:
        folder: Its folder.
        search: Its plan.
        rows: As in results.csv, with the best score so far of trials that have not ended, and the status running or
            interrupted instead of started.
        reports: What each trial reported: one row per epoch, in the order of `rows`.
        alive: Whether a process works in the folder.
    """

    folder: Path
    search: ObjectiveSearch
    rows: list[dict[str, Any]]
    reports: list[list[dict[str, Any]]]
    alive: bool

    @property
    def ranked(self) -> list[dict[str, Any]]:
        """The complete trials, the best first."""
        done = [row for row in self.rows if row["status"] == "done"]
        return sorted(done, key=lambda row: float(row["score"]), reverse=self.search.mode == "max")

    @property
    def title(self) -> str:
        """What is searched, such as ``search over lr, width by objective``."""
        return f"search over {', '.join(self.search.space)} by {self.search.name}"

    def counts(self) -> str:
        """The number of trials with each status, such as ``5 done, 1 failed``."""
        counts = {status: sum(row["status"] == status for row in self.rows) for status in _ORDER}
        return ", ".join(f"{count} {status}" for status, count in counts.items() if count)

    def describe_values(self, row: dict[str, Any]) -> str:
        """The searched values of a trial."""
        return " ".join(f"{name}={short_value(row[name])}" for name in self.search.space)

    def best_sentence(self) -> str:
        """The best complete trial; what is missing if there is none."""
        if not self.ranked:
            return "No trial is complete yet."
        best = self.ranked[0]
        return f"Best complete trial ({self.search.direction} score): {best['score']:.6g}, {self.describe_values(best)}"

    def failures(self) -> list[str]:
        """The failed trials with their causes."""
        return [f"trial {row['trial']}: {row['error']}" for row in self.rows if row["status"] == "failed"]

    def table(self, most: int | None = _SHOWN) -> Table:
        """Running, interrupted and failed trials, then the best of the others; at most a number of them."""
        pairs = [pair for pair in zip(self.rows, self.reports, strict=True) if pair[0]["status"] != "waiting"]
        sign = -1 if self.search.mode == "max" else 1
        pairs.sort(key=lambda pair: (_ORDER.index(pair[0]["status"]), _or_last(pair[0]["score"], sign)))
        measures = list(dict.fromkeys(name for _, rows in pairs for row in rows for name in row))
        measures = [name for name in measures if name not in ("epoch", "score")]
        columns = ("trial", "status", *self.search.space, "reports", "best score", *measures, "seconds")
        cells = tuple(self._cells(row, reports, measures) for row, reports in pairs[:most])
        notes = [f"{', '.join(measures)}: as last reported."] if measures else []
        if most is not None and len(pairs) > most:
            notes.append(f"{len(pairs) - most} more are in {self.folder}/results.csv.")
        return Table(self.title, columns, cells, "ll" + "r" * (len(columns) - 2), note=" ".join(notes))

    def _cells(self, row: dict[str, Any], reports: list[dict[str, Any]], measures: list[str]) -> tuple[str, ...]:
        last = reports[-1] if reports else {}
        of = "" if self.search.epochs is None else f"/{self.search.epochs}"
        seconds = "–" if row["seconds"] is None else f"{row['seconds']:.0f}"
        values = [short_value(row[name]) for name in self.search.space]
        numbers = [_number(row["score"]), *(_number(last.get(name)) for name in measures)]
        return (row["trial"], row["status"], *values, f"{len(reports)}{of}", *numbers, seconds)

    def lines(self) -> list[str]:
        """Counts, the best trial, and how to resume if nothing runs and trials are left."""
        spent = sum(row["seconds"] or 0.0 for row in self.rows)
        trials = counted(len(self.rows), "trial")
        found = [f"{trials}: {self.counts()}; {duration(spent)} of training", self.best_sentence()]
        left = any(row["status"] in ("interrupted", "waiting", "failed") for row in self.rows)
        if left and not self.alive:
            found.append("Nothing is running here. To resume, call tune.search again with the same objective and out.")
        return found

    def describe(self) -> dict[str, Any]:
        """The content of the JSON object."""
        return {
            "folder": str(self.folder),
            "kind": "objective",
            "about": self.title,
            "alive": self.alive,
            "search": asdict(self.search) | {"trials": len(self.search.trials)},
            "trials": [row | {"reports": reports} for row, reports in zip(self.rows, self.reports, strict=True)],
            "best": self.ranked[0] if self.ranked else None,
        }


def read_objective(folder: Path) -> ObjectiveFindings:
    """The search of an objective in a folder.

    Raises:
        RunError: If there is none, or its `objective.json` is damaged.
    """
    content = read_json(folder / FILE, next_step=ELSEWHERE)
    if content is None:
        raise RunError(f"{folder}: expected the search of an objective (with {FILE}), found none. Call tune.search.")
    try:
        if (message := misfit(content, ObjectiveJson)) is not None:
            raise ValueError(message)
        if any(values.keys() != content["space"].keys() for values in content["trials"]):
            raise ValueError("a trial has other values than the space")
        search = ObjectiveSearch(**(content | {"trials": tuple(content["trials"])}))
        ledger, alive = ObjectiveLedger(folder, search), is_locked(folder)
        rows, reports = ledger.results(), [ledger.rows(values) for values in search.trials]
        for row, reported in zip(rows, reports, strict=True):
            if row["status"] == "started":
                row |= {"status": "running" if alive else "interrupted", "epochs": len(reported)}
                row["score"] = search.better([report["score"] for report in reported])
        return ObjectiveFindings(folder, search, rows, reports, alive)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{folder / FILE}: damaged ({reason_of(error)}). {ELSEWHERE}") from None


def _or_last(score: float | None, sign: int) -> float:
    return float("inf") if score is None else sign * score


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
