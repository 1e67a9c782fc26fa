"""The results of a search: files, a table, and the sentences printed below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.config.inactive_fields import is_inactive
from pipeline.config.run_config import fingerprint, flatten, override, to_dict
from pipeline.runs.changed_code import accepted_sentence
from pipeline.runs.result_json import COST_COLUMNS
from preprocess.files import write_json
from preprocess.terminal.plural import counted
from tune.rendering.labels import short_name, short_value
from tune.rendering.table import Table, format_percent
from tune.search.pareto import OBJECTIVES, pareto_front
from tune.search.repeated_rows import group_rows
from tune.search.search_plan import Search
from tune.trials.ledger import Ledger
from tune.trials.results_tables import collect_results, write_results
from tune.trials.trial_ranking import rank

_SHOWN = ("binning.timesteps", "neuron.tau", "neuron.name")
_BEST = 10
# Shown where they are objectives.
_FURTHER_COSTS = frozenset(COST_COLUMNS) - {"energy_uj"}


@dataclass(frozen=True, eq=False)
class Findings:
    """The results of a search so far.

    Attributes:
        search: The plan.
        rows: As `tune.trials.results_tables.collect_results` gives them, in the order of the trials.
        errors: The causes of failed trials, by trial.
        complete: Whether no trial is left to run.
        accepted: Accepted changes of the trials' custom code, as `pipeline.runs.changed_code` records it.
    """

    search: Search
    rows: list[dict[str, Any]]
    errors: dict[str, str]
    complete: bool = True
    accepted: Sequence[Mapping[str, str]] = ()

    @cached_property
    def points(self) -> list[dict[str, Any]]:
        """A row for each configuration, by `repeated_rows.group_rows`; earlier generations of pbt have none."""
        end = self.search.config.schedule.last_epoch
        parts = self.search.traits.generations
        full = [not parts or config.schedule.last_epoch == end for config in self.search.configs()]
        return group_rows([row for row, kept in zip(self.rows, full, strict=True) if kept], self._repeats)

    @property
    def ranked(self) -> list[dict[str, Any]]:
        """The complete configurations, best first."""
        return rank(self.points)

    @property
    def _repeats(self) -> int:
        return max(1, len(self.search.seeds))

    @property
    def front(self) -> list[dict[str, Any]]:
        """The Pareto front of several objectives: complete trials that no other one dominates, most accurate first."""
        return pareto_front(self.ranked, self.search.objectives)

    def count(self, status: str) -> int:
        """Number of trials with a status."""
        return sum(row["status"] == status for row in self.rows)

    def counts(self) -> dict[str, int]:
        """The number of trials with each status that occurs."""
        return {status: self.count(status) for status in dict.fromkeys(row["status"] for row in self.rows)}

    def failures(self) -> list[str]:
        """One line for each failed trial: its values and the cause."""
        return [
            f"trial {row['trial']} ({describe_values(row, self.search.fields)}) failed: {self.errors[row['trial']]}"
            for row in self.rows
            if row["status"] == "failed"
        ]

    def budget(self) -> tuple[int, int]:
        """Training samples times T that were used, and that all trials up to their last epoch would use."""
        spent = full = 0
        for row, config in zip(self.rows, self.search.configs(), strict=True):
            step = self.search.data.train * config.binning.timesteps
            spent += step * (row["own_epochs"] if row.get("own_epochs") is not None else row["epochs"] or 0)
            begins = self._ends.get(config.start_from or "", 0)
            full += step * (config.schedule.last_epoch - begins)
        return spent, full

    @cached_property
    def _ends(self) -> dict[str, int]:
        """The epoch at which each run ends, by trial."""
        return {fingerprint(config): config.schedule.last_epoch for config in self.search.configs()}

    def table(self) -> Table:
        """The best trials, or those on the Pareto front of several objectives."""
        several = len(self.search.objectives) > 1
        ranked = self.front if several else self.ranked
        shown = list(dict.fromkeys((*_SHOWN, *self.search.fields)))
        energy = all(row["energy_uj"] is not None for row in ranked)
        # The columns of objectives that the table does not have anyway.
        costs = {name: OBJECTIVES[name][0] for name in self.search.objectives if OBJECTIVES[name][0] in _FURTHER_COSTS}
        columns = ("trial", *map(short_name, shown), "validation %", "firing rate")
        columns += (*(("energy, µJ",) if energy else ()), *map(_with_unit, costs), "epochs", "seconds")
        rows = tuple(
            (
                row["trial"],
                *self._cells(row, shown),
                _with_spread(row),
                _number(row["firing_rate"], ".3f"),
                *((f"{row['energy_uj']:.3g}",) if energy else ()),
                *(_number(row[column], ".4g") for column in costs.values()),
                _number(row["epochs"], "g"),
                _number(row["seconds"], ".1f"),
            )
            for row in ranked[:_BEST]
        )
        which = f"Pareto front of {' and '.join(self.search.objectives)}" if several else "complete trials"
        if len(ranked) > len(rows):
            which = f"the best {len(rows)} of {len(ranked)} {'on the front' if several else 'complete trials'}"
        samples = self.search.data.validation
        means = f", means over {self._repeats} seeds" if self._repeats > 1 else ""
        title = f"{self.search.about}: {which}{means}, selected by validation accuracy on {samples} samples"
        return Table(title, columns, rows, "l" + "r" * (len(columns) - 1))

    def _cells(self, row: dict[str, Any], fields: Sequence[str]) -> Iterator[str]:
        """The values of a trial's fields, without those that have no effect, such as tau of a neuron without one."""
        values = flatten(self.search.config) | {path: row[path] for path in fields}
        return ("–" if is_inactive(path, values) else short_value(row[path]) for path in fields)

    def sentences(self) -> list[str]:
        """Notes below the table: unranked trials, the compute used, and the resolution of the accuracy."""
        counts = ", ".join(f"{count} {status}" for status, count in self.counts().items())
        spent, full = self.budget()
        validation = self.search.data.validation
        unranked = "; pruned trials are not ranked" if self.count("pruned") else ""
        return [
            f"{counted(len(self.rows), 'trial')}: {counts}{unranked}. Compute: {spent:,} of {full:,} training samples "
            "times T.",
            f"Resolution: one validation sample = {100 / validation:.2f} percentage points. The best of many trials is "
            "optimistically biased; the test set is not used until the final evaluation.",
            *self._repeat_sentences(),
            *self._front_sentences(),
            *self._accumulation_sentences(),
            *([f"{changed}."] if (changed := accepted_sentence(self.accepted)) else []),
        ]

    def _accumulation_sentences(self) -> list[str]:
        count = sum(row["micro_batch"] is not None for row in self.rows)
        trials = counted(count, "trial")
        return [f"{trials} did not fit in memory and used gradient accumulation."] if count else []

    def _repeat_sentences(self) -> list[str]:
        if self._repeats == 1:
            return []
        ranked, points = len(self.ranked), len(self.points)
        return [
            f"{ranked} of {points} configurations completed training with all {self._repeats} seeds; the others are "
            "not ranked. ± is the standard deviation over seeds."
        ]

    def _front_sentences(self) -> list[str]:
        if len(self.search.objectives) == 1:
            return []
        objectives = " and ".join(self.search.objectives)
        return [
            f"{len(self.front)} of {len(self.ranked)} complete trials are on the Pareto front of {objectives}: for "
            "every other trial, one on the front is at least as good in all of them."
        ]


def _number(value: float | None, form: str) -> str:
    """A cell of the table; a dash for a value that the trial does not have."""
    return "–" if value is None else format(value, form)


def _with_unit(cost: str) -> str:
    return f"{cost.replace('-', ' ')}{', µJ' if cost.endswith('energy') else ''}"


def _with_spread(row: dict[str, Any]) -> str:
    spread = row.get("validation_accuracy_std")
    return format_percent(row["validation_accuracy"]) + ("" if spread is None else f" ± {100 * spread:.1f}")


def describe_values(row: dict[str, Any], fields: Sequence[str]) -> str:
    """The searched values of a trial, in short form."""
    return " ".join(f"{short_name(path)}={short_value(row[path])}" for path in fields)


def read_findings(search: Search, folder: Path) -> Findings:
    """The results of a search, read from its ledger."""
    configs = search.configs()
    fields = list(dict.fromkeys((*search.fields, *_SHOWN)))
    rows = collect_results(folder, configs, fields)
    ledger = Ledger(folder)
    errors = {}
    for row, config in zip(rows, configs, strict=True):
        record = ledger.read_done(config)
        row["own_epochs"] = None if record is None else record.get("own_epochs")
        if record is not None and record["status"] == "failed":
            errors[row["trial"]] = str(record.get("error"))
    return Findings(search, rows, errors, accepted=ledger.accepted())


def write_tables(search: Search, folder: Path) -> Findings:
    """Write results and epochs (.csv, .parquet) and, once a trial is complete, best.json; return their content."""
    write_results(folder, search.configs(), search.fields)
    findings = read_findings(search, folder)
    if findings.ranked:
        _write_best(findings, folder)
    return findings


def write_findings(search: Search, folder: Path) -> Findings:
    """Write the tables and, once a trial is complete, figures/, which takes seconds; return their content."""
    from tune.search.budget_figure import write_budget
    from tune.search.search_figures import write_figures

    findings = write_tables(search, folder)
    if findings.ranked:
        write_figures(folder / "figures", findings.points, search.fields, search.about, search.objectives)
        write_budget(folder, search)
    return findings


def _write_best(findings: Findings, folder: Path) -> None:
    """Write best.json: the best configuration for `train --config`, and its results in the search."""
    search, best = findings.search, findings.ranked[0]
    number = [row["trial"] for row in findings.rows].index(best["trial"])
    config = search.configs()[number]
    if config.start_from is not None:
        # Within the search the trial's name is enough; elsewhere its path is needed.
        config = override(config, {"start_from": str(folder.absolute() / "trials" / config.start_from)})
    about = {
        "trial": best["trial"],
        "validation_accuracy": best["validation_accuracy"],
        "validation_accuracy_std": best.get("validation_accuracy_std"),
        "energy_uj": best["energy_uj"],
        "validation_samples": search.data.validation,
        "selection": search.config.selection,
        "dataset": search.config.dataset.name,
        "split": search.config.dataset.split_title,
        "emulated": search.data.emulated,
        "searched": {path: best[path] for path in search.fields},
        "objectives": list(search.objectives),
        "front": [row["trial"] for row in findings.front] if len(search.objectives) > 1 else None,
        "trials": findings.counts(),
    }
    write_json(folder / "best.json", {"config": to_dict(config), "search": about})
