"""A search over a custom objective: any training loop, as a function of a dict of values.

    def objective(values, report):
        model = make_model(values["width"])
        for epoch in range(10):
            train_one_epoch(model, values["lr"])
            report(accuracy_of(model))

Trials run with Ray, in parallel and optionally on a cluster, and poor ones are stopped early. The search folder keeps
every trial, so a repeated call resumes the search; an interrupted trial starts again from the beginning.

objective.json   the space, the options and the values of every trial
trials/          a folder for each trial: config.json (its values), metrics.jsonl (its reports), done.json (its end)
results.csv, epochs.csv   the same as tables, also as .parquet
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import inspect
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Required, TypedDict

from pipeline.runs.run_folder import holding
from preprocess.errors import ConfigError, RunError
from preprocess.files import read_json, read_lines, write_json, write_lines, write_whole
from preprocess.terminal.progress import Progress
from tune.objective.objective_folder import FILE
from tune.objective.objective_space import Values, draw_values, parse_values
from tune.resources.where_trials_run import ExecutionOptions
from tune.space.named_spaces import DEFAULT_SPACE
from tune.space.space_values import space_texts
from tune.trials.parquet import write_parquet
from tune.trials.search_result import SearchResult

ELSEWHERE = "Start the search again in another folder."
_REPEAT = "Delete the trial's folder, and repeat the same call of search."


class Report:
    """The callback with which an objective reports a score once per epoch.

    Attributes:
        epoch: The number of epochs that were reported.
    """

    def __init__(self, send: Callable[[dict[str, Any]], object]) -> None:
        self._send = send
        self.epoch = 0

    def __call__(self, score: float, **measures: float) -> None:
        """Report an epoch. A trial that is stopped early ends here, by an exception that must not be caught.

        Args:
            score: The value that the search maximises or minimises.
            **measures: Further numbers for epochs.csv.

        Raises:
            ValueError: If the score is not a finite number.
        """
        score = float(score)
        if not math.isfinite(score):
            raise ValueError(f"expected a finite score, found {score}")
        self.epoch += 1
        # A measure may have one of these names too.
        own = {"epoch": self.epoch, "score": score}
        self._send(own | {name: float(value) for name, value in measures.items()} | own)


Objective = Callable[[Values, Report], object]


class ObjectiveJson(TypedDict):
    """The content of `objective.json`."""

    name: str
    source: str
    space: dict[str, str]
    method: str
    scheduler: str
    mode: Literal["max", "min"]
    epochs: int | None
    trials: list[dict[str, Any]]


class ObjectiveRecord(TypedDict, total=False):
    """The content of a trial's `done.json`."""

    trial: str
    status: Required[Literal["done", "pruned", "failed"]]
    epochs: int
    score: float | None
    seconds: float
    ended: str
    error: str | None


@dataclass(frozen=True)
class ObjectiveSearch:
    """The plan of a search over an objective, as stored in `objective.json`.

    Attributes:
        name: Name of the objective.
        source: SHA-256 of its source code; "" if the source is not available.
        space: Values by name, in the user's notation.
        method: random or grid.
        scheduler: asha or none.
        mode: max or min.
        epochs: Number of reports of a complete trial; None if unknown.
        trials: The values of every trial, in starting order.
    """

    name: str
    source: str
    space: dict[str, str]
    method: str
    scheduler: str
    mode: str
    epochs: int | None
    trials: tuple[Values, ...]

    @staticmethod
    def of(
        objective: Objective,
        space: object,
        method: str,
        samples: int | None,
        scheduler: str | None,
        mode: str,
        epochs: int | None,
        seed: int,
    ) -> ObjectiveSearch:
        """Plan a search; see `tune.search`.

        Raises:
            ConfigError: With every error of the space and the options.
        """
        errors = []
        if not isinstance(space, Mapping):
            raise ConfigError(
                'space: expected values by name for an objective, such as {"lr": "0.001:0.1:log"}, found '
                f"{'none' if space == DEFAULT_SPACE else repr(space)}"
            )
        if scheduler not in (None, "asha", "none"):
            errors.append(f"scheduler: expected asha or none, found {scheduler}")
        if scheduler == "asha" and epochs is None:
            errors.append("scheduler asha: expected epochs, the number of reports of a complete trial, found none")
        if epochs is not None and epochs < 1:
            errors.append(f"epochs: expected at least 1, found {epochs}")
        if mode not in ("max", "min"):
            errors.append(f"mode: expected max or min, found {mode}")
        if errors:
            raise ConfigError(*errors)
        asked = space_texts(space)
        trials = draw_values(parse_values(asked), method, samples, seed)
        name = getattr(objective, "__name__", type(objective).__name__).strip("<>")
        chosen = scheduler or ("none" if epochs is None else "asha")
        return ObjectiveSearch(name, _source(objective), asked, method, chosen, mode, epochs, tuple(trials))

    @property
    def direction(self) -> str:
        """Which score is the best: highest or lowest."""
        return "highest" if self.mode == "max" else "lowest"

    def better(self, scores: Sequence[float]) -> float:
        """The best of some scores."""
        return max(scores) if self.mode == "max" else min(scores)


def _source(objective: Objective) -> str:
    try:
        return hashlib.sha256(inspect.getsource(objective).encode()).hexdigest()
    except (OSError, TypeError):
        return ""


def trial_id(values: Values) -> str:
    """Twelve hexadecimal digits of a trial's values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


class ObjectiveLedger:
    """The reports and ends of the trials of one folder; only the process that runs the search writes to it."""

    def __init__(self, folder: Path, search: ObjectiveSearch) -> None:
        self.folder, self._search = folder, search
        self._began: dict[str, float] = {}
        # Trials that are stopped early, until their end is recorded.
        self.pruned: set[str] = set()

    def path(self, values: Values) -> Path:
        """The folder of a trial, existing or not."""
        return self.folder / "trials" / trial_id(values)

    def begin(self, values: Values) -> None:
        """Record that a trial starts from the beginning."""
        folder = self.path(values)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("done.json", "metrics.jsonl"):
            (folder / name).unlink(missing_ok=True)
        write_json(folder / "config.json", values)
        self._began[trial_id(values)] = time.monotonic()

    def rows(self, values: Values) -> list[dict[str, Any]]:
        """The reports of a trial, one row per epoch."""
        path = self.path(values) / "metrics.jsonl"
        rows = read_lines(path, numbered=False, next_step=_REPEAT)
        if any(row.get("score") is None for row in rows):
            raise RunError(f"{path}: expected a score in every line, found none in some. {_REPEAT}")
        # Earlier versions let a measure of that name replace it.
        return [row | {"epoch": number} for number, row in enumerate(rows, 1)]

    def add(self, values: Values, row: Mapping[str, Any]) -> None:
        """Append a report to those of a trial."""
        write_lines(self.path(values) / "metrics.jsonl", [*self.rows(values), dict(row)])

    def done(self, values: Values) -> dict[str, Any] | None:
        """The record of a trial's end; None if it has not ended."""
        path = self.path(values) / "done.json"
        record = read_json(path, ObjectiveRecord, next_step=_REPEAT)
        if record is not None and record["status"] == "done" and record.get("score") is None:
            raise RunError(f"{path}: expected the score of a complete trial, found none. {_REPEAT}")
        return record

    def end(self, values: Values, status: str, error: str | None = None) -> None:
        """Record the end of a trial: done, pruned or failed."""
        scores = [row["score"] for row in self.rows(values)]
        if status == "done" and not scores:
            status, error = "failed", "the objective returned without reporting a score"
        record = {
            "trial": trial_id(values),
            "status": status,
            "epochs": len(scores),
            "score": self._search.better(scores) if scores else None,
            "seconds": time.monotonic() - self._began.get(trial_id(values), time.monotonic()),
            "ended": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "error": error,
        }
        write_json(self.path(values) / "done.json", record)

    def unfinished(self) -> list[Values]:
        """The trials that are left to run, including failed ones, which are tried again."""
        return [v for v in self._search.trials if (self.done(v) or {"status": "failed"})["status"] == "failed"]

    def results(self) -> list[dict[str, Any]]:
        """One row per trial, as in results.csv."""
        found = []
        for values in self._search.trials:
            record = self.done(values) or {"status": "started" if self.rows(values) else "waiting"}
            measured = {name: record.get(name) for name in ("epochs", "score", "seconds", "error")}
            found.append({"trial": trial_id(values), "status": record["status"]} | values | measured)
        return found

    def write_tables(self) -> None:
        """Write results and epochs, each as .csv and .parquet."""
        _write_table(self.folder / "results", self.results())
        epochs = [
            {"trial": trial_id(values)} | values | row for values in self._search.trials for row in self.rows(values)
        ]
        _write_table(self.folder / "epochs", epochs)


def _write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    write_whole(path.with_suffix(".csv"), write)
    write_parquet(path.with_suffix(".parquet"), rows, columns)


def search_objective(
    search: ObjectiveSearch,
    objective: Objective,
    folder: Path,
    *,
    execution: ExecutionOptions | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Run the unfinished trials of the folder; see `tune.search`."""
    from tune.cluster.ray_session import make_folder_for

    execution, folder = execution or ExecutionOptions(), folder.expanduser().absolute()
    progress = progress or Progress()
    _check_folder(search, folder)
    make_folder_for(folder, execution.address)
    with holding(folder):
        write_json(folder / FILE, asdict(search) | {"trials": list(search.trials)})
        ledger = ObjectiveLedger(folder, search)
        try:
            if ledger.unfinished():
                from tune.objective.objective_trials import run_objective_trials

                run_objective_trials(search, objective, ledger, execution, progress)
        finally:
            ledger.write_tables()
    rows = ledger.results()
    ranked = [row for row in rows if row["status"] == "done"]
    ranked.sort(key=lambda row: row["score"], reverse=search.mode == "max")
    ended = all(row["status"] in ("done", "pruned", "failed") for row in rows)
    failed = [row for row in rows if row["status"] == "failed"]
    if not ranked:
        raise _nothing_completed(folder, [str(row["error"]) for row in failed])
    if failed:
        progress.note(
            f"{len(failed)} of {len(rows)} trials failed and are not ranked; results.csv in {folder} has the causes. "
            "The same call of search tries them again."
        )
    best = {name: ranked[0][name] for name in search.space}
    return SearchResult(folder, ended, best, float(ranked[0]["score"]), None, ranked)


def _nothing_completed(folder: Path, causes: Sequence[str]) -> RunError:
    """The error of a search without any result, with every cause once."""
    where = f"{folder}: expected a completed trial, found"
    if not causes:
        return RunError(f"{where} none. Call search again with more time.")
    several = f"{len(causes)} failed ones" if len(causes) > 1 else "a failed one"
    return RunError(f"{where} {several} ({'; '.join(dict.fromkeys(causes))}). Correct the objective and call it again.")


def _check_folder(search: ObjectiveSearch, folder: Path) -> None:
    """Refuse a folder that contains anything other than this search."""
    known = read_json(folder / FILE, next_step=ELSEWHERE)
    if known is None:
        if folder.is_dir() and any(path.name != ".lock" for path in folder.iterdir()):
            raise RunError(f"{folder}: expected an empty folder or this search, found other files. Choose another out.")
        return
    asked = json.loads(json.dumps(asdict(search)))
    changed = [name for name in asked if known.get(name) != asked[name]]
    if changed == ["source"] and not (known.get("source") and search.source):
        return
    if changed:
        what = "an objective whose code changed since" if changed == ["source"] else f"another {', '.join(changed)}"
        raise RunError(f"{folder}: expected the search of this folder, found {what}. Choose another out.")
