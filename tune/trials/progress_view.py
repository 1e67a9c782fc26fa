"""The display of running trials on stderr: a live table on a terminal, otherwise a line for each trial that ends."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config.run_config import RunConfig, fingerprint, flatten
from preprocess.files import read_lines
from tune.rendering.labels import duration, short_name, short_value
from tune.rendering.table import format_percent
from tune.trials.ledger import Ledger, TrialRecord
from tune.trials.results_tables import collect_results, score_columns
from tune.trials.trial_ranking import rank

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = 16


class TrialView(contextlib.AbstractContextManager["TrialView"]):
    """Keeps a row for each trial and prints a line when one ends; `LiveTable` shows the rows as well.

    Attributes:
        rows: As `tune.trials.results_tables.collect_results` gives them, by fingerprint, in the order of the trials.
    """

    def __init__(
        self, ledger: Ledger, configs: Sequence[RunConfig], fields: Sequence[str], expected: int | None = None
    ) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self._fields = list(fields)
        # Only trials that started in this session count as running, not those that an earlier session left.
        self._since: dict[str, float] = {}
        self._ledger = ledger
        self._nodes: dict[str, str | None] = {}
        self._epochs: dict[str, int] = {}
        self._begins: dict[str, int] = {}
        self._steps: dict[str, int] = {}
        self._labels: dict[str, str] = {}
        for config in configs:
            self.add(config)
        self._expected = expected
        self._opened, self._opening = time.monotonic(), self.budget()[0]

    def _describe(self, config: RunConfig) -> str:
        flat = flatten(config)
        fields = self._fields or ["seed"]
        return " ".join(f"{short_name(path)}={short_value(flat[path])}" for path in fields)

    def __enter__(self) -> TrialView:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add(self, config: RunConfig) -> None:
        """Add a trial, if it is not known yet."""
        trial = fingerprint(config)
        if trial not in self.rows:
            self.rows[trial] = collect_results(self._ledger.folder, [config], self._fields)[0]
            self._epochs[trial], self._labels[trial] = config.schedule.last_epoch, self._describe(config)
            self._steps[trial], self._begins[trial] = config.binning.timesteps, _begin(self._ledger, config)

    def counts(self) -> dict[str, int]:
        """The number of trials with each status that occurs; those that are not proposed yet count as waiting."""
        found: dict[str, int] = {}
        for row in self.rows.values():
            found[row["status"]] = found.get(row["status"], 0) + 1
        unasked = (self._expected or 0) - len(self.rows)
        return found | ({"waiting": found.get("waiting", 0) + unasked} if unasked > 0 else {})

    def running(self) -> list[dict[str, Any]]:
        """The running trials, with their values, their epoch and their running time."""
        return [
            {
                "trial": trial,
                "values": {path: self.rows[trial][path] for path in self._fields if path in self.rows[trial]},
                "epoch": self.rows[trial]["epochs"] or 0,
                "epochs": self._epochs[trial],
                "validation_accuracy": self.rows[trial]["validation_accuracy"],
                "seconds": round(time.monotonic() - since, 1),
                "node": self._nodes.get(trial),
            }
            for trial, since in self._since.items()
        ]

    def best(self) -> dict[str, Any] | None:
        """The complete trial with the best validation accuracy of a single run; None while there is none."""
        ranked = rank(list(self.rows.values()))
        if not ranked:
            return None
        values = {path: ranked[0][path] for path in self._fields if path in ranked[0]}
        return {name: ranked[0][name] for name in ("trial", "validation_accuracy", "seed")} | {"values": values}

    def budget(self) -> tuple[int, int]:
        """Time steps per sample that are trained, and that all trials need; ended trials count as far as they got."""
        done = total = 0
        for trial, row in self.rows.items():
            epochs = max(0, (row["epochs"] or 0) - self._begins[trial])
            ended = row["status"] in ("done", "pruned", "failed")
            done += self._steps[trial] * epochs
            total += self._steps[trial] * (epochs if ended else self._epochs[trial] - self._begins[trial])
        unasked = (self._expected or 0) - len(self.rows)
        return done, total + (round(unasked * total / len(self.rows)) if unasked > 0 and self.rows else 0)

    def elapsed(self) -> float:
        """Seconds since this session started."""
        return time.monotonic() - self._opened

    def left(self) -> float | None:
        """Seconds until the last trial ends, at the speed of this session; None before its first epoch."""
        done, total = self.budget()
        return None if done <= self._opening else self.elapsed() * (total - done) / (done - self._opening)

    def interrupted(self, trial: str, why: str) -> None:
        """A trial stopped before its end and keeps its last checkpoint."""
        self._since.pop(trial, None)
        self.rows[trial]["status"] = "started"
        self.note(f"trial {self._labels[trial]}: {why}")

    def started(self, trial: str) -> None:
        """A trial starts or resumes."""
        self._since[trial] = time.monotonic()
        self.rows[trial]["status"] = "running"

    def reported(self, trial: str, metrics: dict[str, Any]) -> None:
        """A trial ended an epoch."""
        row = self.rows[trial]
        row["epochs"] = metrics["epoch"]
        self._nodes[trial] = metrics.get("hostname")
        found = metrics.get("validation_accuracy")
        if found is not None and found > (row["validation_accuracy"] or 0.0):
            row["validation_accuracy"] = found

    def ended(self, trial: str, record: TrialRecord) -> None:
        """A trial has its `done.json`."""
        self.rows[trial] |= {name: value for name, value in record.items() if name in self.rows[trial]}
        self._since.pop(trial, None)
        self.note(self._end_line(trial, record))

    def note(self, line: str) -> None:
        """Print one line on stderr."""
        print(f"spikeloom: {line}", file=sys.stderr, flush=True)

    def _end_line(self, trial: str, record: TrialRecord) -> str:
        ended = sum(row["status"] in ("done", "pruned", "failed") for row in self.rows.values())
        start = f"trial {ended}/{max(len(self.rows), self._expected or 0)} {self._labels[trial]}: {record['status']}"
        if record["status"] == "failed":
            return f"{start}: {record['error']}"
        epochs = f"{record['epochs']} of {self._epochs[trial]} epochs in {record['seconds']:.1f} s"
        scores = [
            f"{split} {format_percent(accuracy)} %"
            for split, accuracy in (
                ("validation", record["validation_accuracy"]),
                ("test", record["test_accuracy"]),
            )
            if accuracy is not None
        ]
        return ", ".join([f"{start} after {epochs}", *scores])


class LiveTable(TrialView):
    """A live table of the running trials and the best of those that ended."""

    def __enter__(self) -> LiveTable:
        from rich.console import Console
        from rich.live import Live

        # Results go to stdout, which Rich would redirect to the table's screen.
        self._live = Live(
            console=Console(stderr=True),
            get_renderable=self._table,
            refresh_per_second=2,
            transient=True,
            redirect_stdout=False,
        )
        self._live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._live.__exit__(*details)

    def note(self, line: str) -> None:
        """Print a message above the table, unless the table shows it already."""
        # The table shows trials that end well; there is no room for the cause of a failure.
        if not line.startswith("trial ") or ": failed: " in line or ": its process" in line:
            self._live.console.print(f"spikeloom: {line}", markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        from rich.table import Table

        counts = ", ".join(f"{count} {status}" for status, count in self.counts().items())
        title = f"{max(len(self.rows), self._expected or 0)} trials: {counts}"
        done, total = self.budget()
        title += f"; {100 * done / max(total, 1):.0f} % of the compute"
        left = self.left()
        title += "" if left is None else f"; about {duration(left)} left"
        table = Table(title=title, title_justify="left")
        for name in ("trial", "status", *map(short_name, self._fields)):
            table.add_column(name, overflow="fold")
        scores = [f"{name.removesuffix('_accuracy')} %" for name in score_columns(self.rows.values())]
        for name in ("epoch", *scores, "seconds"):
            table.add_column(name, justify="right")
        if self._spread_out():
            table.add_column("machine", overflow="fold")
        for row in self._shown():
            table.add_row(*self._cells(row))
        return table

    def _shown(self) -> list[dict[str, Any]]:
        """Every running trial, and as many of the best others as fit."""
        running = [row for row in self.rows.values() if row["status"] == "running"]
        others = [row for row in self.rows.values() if row["status"] not in ("running", "waiting", "started")]
        others.sort(key=lambda row: (row["status"] != "done", -(row["validation_accuracy"] or 0.0)))
        return running + others[: max(_SHOWN - len(running), 0)]

    def _cells(self, row: dict[str, Any]) -> list[str]:
        since = self._since.get(row["trial"])
        seconds = time.monotonic() - since if since is not None else row["seconds"] or 0.0
        values = [short_value(row[path]) for path in self._fields]
        epochs = f"{row['epochs'] or 0}/{self._epochs[row['trial']]}"
        scores = [format_percent(row[name]) for name in score_columns(self.rows.values())]
        machine = [self._nodes.get(row["trial"]) or ""] if self._spread_out() else []
        return [row["trial"], row["status"], *values, epochs, *scores, f"{seconds:.0f}", *machine]

    def _spread_out(self) -> bool:
        """Whether trials ran on several machines."""
        return len(set(self._nodes.values()) - {None}) > 1


def _begin(ledger: Ledger, config: RunConfig) -> int:
    """The epoch at which a trial starts from another's weights; 0 if it starts from initial weights."""
    if config.start_from is None:
        return 0
    return len(read_lines(ledger.folder / "trials" / config.start_from / "metrics.jsonl"))


def view_on_stderr(
    ledger: Ledger, configs: Sequence[RunConfig], fields: Sequence[str], expected: int | None = None
) -> TrialView:
    """A live table if stderr is a terminal, otherwise lines."""
    kind = LiveTable if sys.stderr.isatty() else TrialView
    return kind(ledger, configs, fields, expected)
