"""The final evaluation of a search: its selected configuration is retrained with several seeds and tested once.

Trials are ranked on few validation samples, and the best of many trials is optimistically biased. The selected
configuration is therefore retrained on the training and validation samples together, with new seeds, for as many epochs
as validation selected; its last epoch is tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from pipeline.config.run_config import RunConfig, fingerprint, override
from preprocess.files import read_json, write_json
from preprocess.terminal.plural import counted
from preprocess.terminal.progress import Progress
from tune.rendering.table import format_percent
from tune.resources.storage_settings import own_storage, with_kept_storage
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.search_findings import Findings
from tune.search.search_plan import Search
from tune.trials.ledger import Ledger
from tune.trials.trial_job import TrialJob

if TYPE_CHECKING:
    from tune.cluster.ray_session import RaySession

FOLDER = "final"
_FILE = "final.json"


class _FinalJson(TypedDict):
    """The content of `final.json`."""

    searched: dict[str, Any]
    epochs: int
    test_accuracies: list[float]
    seeds: list[int]
    test_samples: int
    failures: list[str]
    complete: NotRequired[bool]


@dataclass(frozen=True)
class Final:
    """The result of a search's selected configuration on the test set.

    Attributes:
        searched: The selected values of the searched fields.
        epochs: The number of epochs that it was trained for.
        accuracies: Test accuracy of each seed that was completed, a fraction.
        seeds: The number of seeds requested.
        samples: The number of test samples.
        failures: The causes of failed runs, a line each.
        complete: Whether no seed is left to run; False if the time limit was reached before.
    """

    searched: dict[str, Any]
    epochs: int
    accuracies: tuple[float, ...]
    seeds: int
    samples: int
    failures: tuple[str, ...] = ()
    complete: bool = True

    def sentence(self) -> str:
        """The result in one sentence."""
        if not self.accuracies:
            why = self.failures[0] if self.failures else f"0 of {self.seeds} seeds so far."
            return f"Final evaluation failed: {why}" if self.failures else f"Final evaluation is incomplete: {why}"
        each = ", ".join(format_percent(accuracy) for accuracy in self.accuracies)
        spread = f" ± {100 * stdev(self.accuracies):.1f}" if len(self.accuracies) > 1 else ""
        missing = ""
        if not self.complete:
            missing = f"; {len(self.accuracies)} of {self.seeds} seeds so far"
        elif self.failures:
            missing = f"; {self.seeds - len(self.accuracies)} of {self.seeds} seeds failed"
        return (
            f"Selected configuration, retrained on train + validation for {counted(self.epochs, 'epoch')}, as many as "
            f"validation selected: test accuracy {format_percent(fmean(self.accuracies))}{spread} % of "
            f"{counted(self.samples, 'sample')} ({each}){missing}."
        )


def read_final(folder: Path) -> Final | None:
    """The final evaluation of a search, complete or not; None before its first run has ended.

    Raises:
        RunError: If `final.json` is damaged.
    """
    path = folder / _FILE
    content = read_json(path, _FinalJson, next_step=f"Delete it, then run: spikeloom tune --resume {folder}")
    if content is None:
        return None
    return Final(
        searched=content["searched"],
        epochs=content["epochs"],
        accuracies=tuple(content["test_accuracies"]),
        seeds=len(content["seeds"]),
        samples=content["test_samples"],
        failures=tuple(content["failures"]),
        complete=content.get("complete", True),
    )


class FinalRuns:
    """Provides the runs of the selected configuration: for each seed its parts in order; ordinary trials have one part.

    A member of a population changed its settings during training: its parts are trained in the same way, each from the
    one before.
    """

    def __init__(self, parts: Sequence[RunConfig], seeds: Sequence[int], folder: Path) -> None:
        """Make the configurations of all parts of all seeds.

        Args:
            parts: The parts in order, each with the epoch at which it ends.
            seeds: The seeds, each of which has one run.
            folder: The folder of the ledger.
        """
        self._ledger = Ledger(folder)
        self.configs: list[RunConfig] = []
        self.last: list[RunConfig] = []
        for seed in seeds:
            before: RunConfig | None = None
            for part in parts:
                start = None if before is None else fingerprint(before)
                before = override(part, {"seed": seed, "start_from": start})
                self.configs.append(before)
            assert before is not None
            self.last.append(before)
        self._parts = len(parts)
        self._asked: set[str] = set()

    @property
    def open(self) -> Sequence[RunConfig]:
        """Empty: `ask` also provides the runs that an earlier session did not finish."""
        return ()

    @property
    def exhausted(self) -> bool:
        """Whether every seed has ended: its last part is done, or a part failed in this session."""
        return all(self._next(k) is None for k in range(len(self.last)))

    def _next(self, k: int) -> RunConfig | None:
        """The first unfinished part of a seed; None if all are done, or one failed in this session."""
        for config in self.configs[k * self._parts : (k + 1) * self._parts]:
            record = self._ledger.read_done(config)
            if record is None or record["status"] != "done":
                failed = record is not None and fingerprint(config) in self._asked
                return None if failed else config
        return None

    def ask(self) -> Sequence[RunConfig]:
        """The next part of every seed whose previous part is done."""
        found = [config for k in range(len(self.last)) if (config := self._next(k)) is not None]
        new = [config for config in found if fingerprint(config) not in self._asked]
        self._asked |= {fingerprint(config) for config in new}
        return new

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        """Nothing to do: results are read from the ledger."""


def run_final(
    findings: Findings,
    folder: Path,
    *,
    execution: ExecutionOptions | None = None,
    progress: Progress | None = None,
    session: RaySession | None = None,
) -> Final | None:
    """Retrain the best complete trial with as many seeds as the search requests, and test it; finished runs are kept.

    Only the last part of each run uses the test set.

    Args:
        findings: The results of the finished search.
        folder: The search's folder.
        execution: Where and how long the runs may run.
        progress: Shows the progress of building frame caches.
        session: The Ray session that the trials used.

    Returns:
        The result; None if the search requests no final evaluation, or has no complete trial.
    """
    search = findings.search
    if not search.final_seeds or not findings.ranked:
        return None
    from tune.trials.run_trials import run_trials

    execution = with_kept_storage(folder, execution or ExecutionOptions())
    resume = execution.resume("tune", folder)
    execution = own_storage(folder, execution, progress)
    if execution.storage is not None:
        execution = replace(execution, storage=f"{execution.storage}/{FOLDER}")
    parts = selected_parts(findings, folder)
    # Seeds that no trial used: the trial's own seed is part of why it was selected.
    first = max(config.seed for config in search.configs()) + 1
    source = FinalRuns(parts, range(first, first + search.final_seeds), folder / FOLDER)
    job = TrialJob(
        folder=folder / FOLDER,
        cache=search.cache,
        execution=execution,
        open_test=True,
        count=len(source.configs),
        fields=["seed"],
        resume=resume,
        session=session,
    )
    complete = run_trials(source, job, progress=progress)
    return _write(findings, parts, source, folder, complete)


def selected_parts(findings: Findings, folder: Path) -> list[RunConfig]:
    """All parts of the best trial, on all training samples and up to the epoch that validation selected."""
    search, ledger = findings.search, Ledger(folder)
    runs = {fingerprint(config): config for config in search.configs()}
    best = runs[findings.ranked[0]["trial"]]
    epoch = _selected_epoch(search, best, ledger)
    parts = [best]
    while parts[0].start_from is not None:
        parts.insert(0, runs[parts[0].start_from])
    kept = [part for part in parts if _begin(part, runs) < epoch]
    ends = [min(part.schedule.last_epoch, epoch) for part in kept]
    return [
        override(part, {"selection": "last", "schedule.patience": None, "schedule.stop_epoch": end})
        for part, end in zip(kept, ends, strict=True)
    ]


def _begin(part: RunConfig, runs: Mapping[str, RunConfig]) -> int:
    return 0 if part.start_from is None else runs[part.start_from].schedule.last_epoch


def _selected_epoch(search: Search, best: RunConfig, ledger: Ledger) -> int:
    """The epoch whose weights were selected; the median over several seeds."""
    for changes in search.trials:
        repeats = search.repeats(changes)
        if best in repeats:
            results = [read_json(ledger.trial_folder(config) / "result.json") for config in repeats]
            return max(1, round(median(result["epoch"] for result in results if result is not None)))
    raise AssertionError("the best trial is one of the trials")


def _write(findings: Findings, parts: Sequence[RunConfig], source: FinalRuns, folder: Path, complete: bool) -> Final:
    ledger = Ledger(folder / FOLDER)
    results = [read_json(ledger.trial_folder(config) / "result.json") or {} for config in source.last]
    tested = [result for result in results if "test_accuracy" in result]
    records = [ledger.read_done(config) for config in source.configs]
    found = Final(
        {path: findings.ranked[0][path] for path in findings.search.fields},
        parts[-1].schedule.last_epoch,
        tuple(float(result["test_accuracy"]) for result in tested),
        len(source.last),
        int(tested[0]["test_samples"]) if tested else 0,
        tuple(str(record.get("error")) for record in records if record is not None and record["status"] == "failed"),
        complete,
    )
    write_json(
        folder / _FILE,
        {
            "trial": findings.ranked[0]["trial"],
            "searched": found.searched,
            "epochs": found.epochs,
            "seeds": [config.seed for config in source.last],
            "test_accuracies": list(found.accuracies),
            "test_accuracy": fmean(found.accuracies) if found.accuracies else None,
            "test_samples": found.samples,
            "selection": "last",
            "emulated": findings.search.data.emulated,
            "runs": [str(ledger.trial_folder(config)) for config in source.last],
            "failures": list(found.failures),
            "complete": found.complete,
        },
    )
    return found
