"""What the trials of a search came to: files, a table, and what it does not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import to_dict
from pipeline.runs import write_json
from tune.ledger import Ledger
from tune.results import collect_results, rank, short_name, short_value, write_results
from tune.search_plan import Search
from tune.tables import Table, per_cent

_SHOWN = ("binning.timesteps", "neuron.tau", "neuron.name")
_BEST = 10


@dataclass(frozen=True, eq=False)
class Findings:
    """What the trials of a search came to so far.

    Attributes:
        search: What was asked for.
        rows: As `tune.results.collect_results` gives them, in the order of the trials.
        errors: The causes of failed trials, by trial.
        complete: Whether no trial is left to run.
    """

    search: Search
    rows: list[dict[str, Any]]
    errors: dict[str, str]
    complete: bool = True

    @property
    def ranked(self) -> list[dict[str, Any]]:
        """The complete trials, the best first; a part of one that others go on from is none."""
        ends = [config.schedule.stop_epoch is None for config in self.search.configs()]
        return rank([row for row, whole in zip(self.rows, ends, strict=True) if whole])

    def count(self, status: str) -> int:
        return sum(row["status"] == status for row in self.rows)

    def counts(self) -> dict[str, int]:
        """How many trials have each status that occurs."""
        return {status: self.count(status) for status in dict.fromkeys(row["status"] for row in self.rows)}

    def failures(self) -> list[str]:
        """One line for each failed trial: what it was, and the cause."""
        return [
            f"trial {row['trial']} ({describe_values(row, self.search.fields)}) failed: {self.errors[row['trial']]}"
            for row in self.rows
            if row["status"] == "failed"
        ]

    def budget(self) -> tuple[int, int]:
        """Samples x T that were trained on, and those that all trials to their last epoch would take."""
        spent = full = 0
        for row, config in zip(self.rows, self.search.configs(), strict=True):
            step = self.search.data.train * config.binning.timesteps
            spent += step * (row["epochs"] or 0)
            full += step * config.schedule.last_epoch
        return spent, full

    def table(self) -> Table:
        """The best trials."""
        ranked = self.ranked
        shown = list(dict.fromkeys((*_SHOWN, *self.search.fields)))
        columns = ("trial", *map(short_name, shown), "validation %", "firing rate", "epochs", "seconds")
        rows = tuple(
            (
                row["trial"],
                *(short_value(row[path]) for path in shown),
                per_cent(row["validation_accuracy"]),
                f"{row['firing_rate']:.3f}",
                str(row["epochs"]),
                f"{row['seconds']:.1f}",
            )
            for row in ranked[:_BEST]
        )
        which = "complete trials"
        if len(ranked) > len(rows):
            which = f"the best {len(rows)} of {len(ranked)} complete trials"
        samples = self.search.data.validation
        title = f"{self.search.about}: {which}, selected by validation accuracy on {samples} samples"
        return Table(title, columns, rows, "l" + "r" * (len(columns) - 1))

    def sentences(self) -> list[str]:
        """What the table does not say: the trials that have no rank, the budget, and what a point is worth."""
        counts = ", ".join(f"{count} {status}" for status, count in self.counts().items())
        spent, full = self.budget()
        validation = self.search.data.validation
        unranked = "; pruned trials have no rank" if self.count("pruned") else ""
        return [
            f"{len(self.rows)} trials: {counts}{unranked}. Trained on {spent:,} of {full:,} samples x T.",
            f"One validation sample is {100 / validation:.2f} points, and the best of many flatters itself; "
            "the test samples stay closed until the choice is trained.",
        ]


def describe_values(row: dict[str, Any], fields: Sequence[str]) -> str:
    """The searched values of a trial in a few words."""
    return " ".join(f"{short_name(path)}={short_value(row[path])}" for path in fields)


def read_findings(search: Search, folder: Path) -> Findings:
    """What the ledger holds of a search."""
    configs = search.configs()
    fields = list(dict.fromkeys((*search.fields, *_SHOWN)))
    rows = collect_results(folder, configs, fields)
    ledger = Ledger(folder)
    errors = {}
    for row, config in zip(rows, configs, strict=True):
        if row["status"] == "failed":
            errors[row["trial"]] = str((ledger.read_done(config) or {}).get("error"))
    return Findings(search, rows, errors)


def write_findings(search: Search, folder: Path) -> None:
    """Write results.csv, epochs.csv and, once a trial is complete, best.json and figures/."""
    from tune.figures import write_figures

    write_results(folder, search.configs(), search.fields)
    findings = read_findings(search, folder)
    if findings.ranked:
        _write_best(findings, folder)
        write_figures(folder / "figures", findings.rows, search.fields, search.about)


def _write_best(findings: Findings, folder: Path) -> None:
    """The best configuration, as `train --config` takes it, and what the search says of it."""
    search, best = findings.search, findings.ranked[0]
    number = [row["trial"] for row in findings.rows].index(best["trial"])
    said = {
        "trial": best["trial"],
        "validation_accuracy": best["validation_accuracy"],
        "validation_samples": search.data.validation,
        "selection": search.config.selection,
        "dataset": search.config.dataset.name,
        "split": search.config.dataset.split_title,
        "emulated": search.data.emulated,
        "searched": {path: best[path] for path in search.fields},
        "trials": findings.counts(),
    }
    write_json(folder / "best.json", {"config": to_dict(search.configs()[number]), "search": said})
