"""The progress of a search or comparison, from its files alone: no Ray, no torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config.run_config import RunConfig
from preprocess.errors import RunError
from preprocess.folder_lock import is_locked
from preprocess.terminal.plural import counted
from tune.comparison import comparison_plan as comparison_plan
from tune.objective.objective_findings import ObjectiveFindings, read_objective
from tune.objective.objective_folder import FILE as OBJECTIVE
from tune.rendering.labels import duration, short_name, short_value
from tune.rendering.table import Table, format_percent
from tune.search import search_plan as search_plan
from tune.search.final_runs import FOLDER, Final, read_final
from tune.trials.live_status import STALE_S, driver_lives, read_live_status
from tune.trials.results_tables import collect_results, differing_fields, score_columns

_SHOWN = 16
_ORDER = ("running", "interrupted", "failed", "done", "pruned", "waiting")


@dataclass(frozen=True, eq=False)
class Status:
    """The state of a folder at one moment.

    Attributes:
        folder: The folder of the search or comparison.
        kind: search or comparison.
        about: A short description of its plan.
        alive: Whether a process works in the folder.
        fields: The field paths in which the trials differ.
        rows: From `tune.trials.results_tables.collect_results`, with the status running or interrupted instead of
            started. A running trial that the driver reports also has its `machine`, and the `seconds` since it started
            or resumed.
        epochs: The number of epochs of each trial, when complete.
        seconds: From the start of the first trial to now, or to the last change if nothing is running.
        live: The last status that the driver wrote (`tune.trials.live_status`), while one works there.
        final: The final evaluation of a search (`tune.search.final_runs`).
        testing: The number of final runs with each status, while they are running.
        untested: Whether a search has a requested final evaluation that is not complete.
    """

    folder: Path
    kind: str
    about: str
    alive: bool
    fields: tuple[str, ...]
    rows: list[dict[str, Any]]
    epochs: tuple[int, ...]
    seconds: float
    live: dict[str, Any] | None = None
    final: Final | None = None
    testing: dict[str, int] | None = None
    untested: bool = False

    def count(self, status: str) -> int:
        """Number of trials with a status."""
        return sum(row["status"] == status for row in self.rows)

    def table(self) -> Table:
        """Running, interrupted and failed trials, then the best of the others, as many as fit on a screen."""
        scores = [f"{name.removesuffix('_accuracy')} %" for name in score_columns(self.rows)]
        columns = ("trial", "status", *map(short_name, self.fields), "seed", "epochs", *scores, "seconds")
        columns += self._machine_cells("machine")
        rows = [(row, epochs) for row, epochs in zip(self.rows, self.epochs, strict=True) if row["status"] != "waiting"]
        rows.sort(key=lambda pair: (_ORDER.index(pair[0]["status"]), -_score(pair[0])))
        cells = tuple(
            (*self._cells(row, epochs), *self._machine_cells(row.get("machine") or "")) for row, epochs in rows[:_SHOWN]
        )
        note = f"{len(rows) - _SHOWN} more are in {self.folder}/results.csv" if len(rows) > _SHOWN else ""
        return Table(f"{self.kind} {self.about}", columns, cells, "ll" + "r" * (len(columns) - 2), note)

    def _machine_cells(self, cell: str) -> tuple[str, ...]:
        """A cell of the column of machines, if trials run on several."""
        return (cell,) if len({row.get("machine") for row in self.rows} - {None}) > 1 else ()

    def _cells(self, row: dict[str, Any], epochs: int) -> tuple[str, ...]:
        values = [short_value(row[path]) for path in self.fields]
        scores = [format_percent(row[name]) for name in score_columns(self.rows)]
        seconds = "–" if row["seconds"] is None else f"{row['seconds']:.0f}"
        done = f"{row['epochs'] or 0}/{epochs}"
        return (row["trial"], row["status"], *values, str(row["seed"]), done, *scores, seconds)

    def lines(self) -> list[str]:
        """Counts, the best trial so far, and the command that resumes if it stopped."""
        counts = ", ".join(f"{self.count(status)} {status}" for status in _ORDER if self.count(status))
        found = [f"{counted(len(self.rows), 'trial')}: {counts}; {duration(self.seconds)} since the first one started"]
        found += self._live_lines()
        best = max((row for row in self.rows if row["status"] == "done"), key=_score, default=None)
        if best is not None and _score(best) >= 0:
            split = "validation" if best["validation_accuracy"] is not None else "test"
            values = " ".join(f"{short_name(path)}={short_value(best[path])}" for path in (*self.fields, "seed"))
            found.append(f"Best complete trial so far: {format_percent(_score(best))} % {split} accuracy, {values}")
        if self.testing is not None:
            counts = ", ".join(f"{count} {status}" for status, count in self.testing.items())
            found.append(f"Final evaluation: {counts or 'starting'}")
        elif self.final is not None:
            found.append(self.final.sentence())
        if not self.alive and (
            self.untested or any(self.count(status) for status in ("interrupted", "waiting", "failed"))
        ):
            command = "tune" if self.kind == "search" else "compare"
            found.append(f"Nothing is running here. Resume with: spikeloom {command} --resume {self.folder}")
        return found

    def _live_lines(self) -> list[str]:
        if self.live is None or not self.alive or self.testing is not None:
            return []
        if self.live["age_s"] > STALE_S:
            process = f"Process {self.live.get('process')} on {self.live.get('host')}"
            return [f"{process} has written nothing for {duration(self.live['age_s'])}. Check whether it still works."]
        if "steps" not in self.live:
            return []
        done, total = self.live["steps"]["done"], self.live["steps"]["all"]
        left = self.live.get("left_s")
        remaining = "" if left is None else f"; about {duration(left)} left"
        return [f"{100 * done / max(total, 1):.0f} % of the training compute (samples times T) is done{remaining}"]

    def describe(self) -> dict[str, Any]:
        """The content of the JSON object."""
        return {
            "folder": str(self.folder),
            "kind": self.kind,
            "about": self.about,
            "alive": self.alive,
            "trials": [row | {"of_epochs": epochs} for row, epochs in zip(self.rows, self.epochs, strict=True)],
            "seconds": self.seconds,
            "live": self.live,
            "final": None if self.final is None else asdict(self.final),
            "testing": self.testing,
        }


def _score(row: dict[str, Any]) -> float:
    for name in ("validation_accuracy", "test_accuracy"):
        if row[name] is not None:
            return float(row[name])
    return -1.0


def read_status(folder: Path) -> Status | ObjectiveFindings:
    """The state of a search, also of an objective, or of a comparison.

    Raises:
        RunError: If the folder is neither, or its files are damaged.
    """
    if (folder / OBJECTIVE).exists():
        return read_objective(folder)
    kind, about, configs, fields = _plan(folder)
    alive = is_locked(folder)
    rows, live = collect_results(folder, configs, fields), read_live_status(folder)
    final = read_final(folder)
    untested = kind == "search" and _is_untested(folder, final)
    # Between its last trial and its first final run, a search draws its figures and holds neither lock.
    testing = untested and not alive and (is_locked(folder / FOLDER) or (live is not None and driver_lives(live)))
    runs = read_live_status(folder / FOLDER) if testing else None
    _mark_running(rows, alive, live)
    epochs = tuple(config.schedule.last_epoch for config in configs)
    return Status(
        folder,
        kind,
        about,
        alive or testing,
        tuple(fields),
        rows,
        epochs,
        _seconds(folder, alive),
        live,
        final,
        (runs or {}).get("trials", {}) if testing else None,
        untested,
    )


def _is_untested(folder: Path, final: Final | None) -> bool:
    """Whether a search has a requested final evaluation that is not complete."""
    wanted = search_plan.read_search(folder).final_seeds > 0 and (folder / "best.json").exists()
    return wanted and (final is None or not final.complete)


def _mark_running(rows: list[dict[str, Any]], alive: bool, live: dict[str, Any] | None) -> None:
    """Turn the status started into running or interrupted, by the driver's last status if that is recent.

    For a trial on a machine that sends its files later, only the driver knows how far it is.
    """
    current = alive and live is not None and live.get("state") == "running" and live["age_s"] <= STALE_S
    running = {trial["trial"]: trial for trial in live.get("running", ())} if current and live is not None else None
    for row in rows:
        if row["status"] not in ("started", "waiting"):
            continue
        if running is None:
            row["status"] = ("running" if alive else "interrupted") if row["status"] == "started" else "waiting"
        elif (trial := running.get(row["trial"])) is not None:
            row["status"], row["epochs"] = "running", max(row["epochs"] or 0, trial["epoch"])
            row["seconds"], row["machine"] = trial["seconds"], trial["node"]
            row["validation_accuracy"] = trial["validation_accuracy"] or row["validation_accuracy"]
        elif row["status"] == "started":
            row["status"] = "interrupted"


def _plan(folder: Path) -> tuple[str, str, list[RunConfig], Sequence[str]]:
    if (folder / search_plan.FILE).exists():
        search = search_plan.read_search(folder)
        fields = [path for path in search.fields if path != "seed"]
        return "search", f"{search.name}: {search.about}", search.configs(), fields
    if (folder / comparison_plan.FILE).exists():
        comparison = comparison_plan.read_comparison(folder)
        splits = dict.fromkeys(
            f"{dataset.name}, {dataset.split_title} split"
            for dataset in (setting.config.dataset for setting in comparison.settings)
        )
        neurons = ", ".join(arm.name for arm in comparison.arms)
        about = f"{comparison.name}: {'; '.join(splits)}; {neurons}; {counted(len(comparison.seeds), 'seed')}"
        return "comparison", about, comparison.configs(), differing_fields(comparison.configs())
    raise RunError(
        f"{folder}: expected a search or comparison (with {search_plan.FILE} or {comparison_plan.FILE}), found "
        "neither. List runs: spikeloom runs DIR"
    )


def _seconds(folder: Path, alive: bool) -> float:
    """Seconds from the first trial's first file to now, or to the last line of a metrics file if nothing is running."""
    starts = [path.stat().st_mtime for path in folder.glob("trials/*/config.json")]
    ends = [path.stat().st_mtime for path in folder.glob("trials/*/metrics.jsonl")]
    if not starts:
        return 0.0
    return (time.time() if alive else max([*ends, *starts])) - min(starts)
