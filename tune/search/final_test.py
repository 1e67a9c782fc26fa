"""The end of a search: its choice is trained anew on all training samples over several seeds, and tested once.

Trials are ranked on few validation samples, and the best of many flatters itself. So the choice is trained again, on
train and validation samples together, with seeds of its own, for as many epochs as validation chose; its last epoch is
tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from pipeline.config.run_config import RunConfig, fingerprint, override
from preprocess.errors import RunError
from preprocess.files import read_json, write_json
from preprocess.terminal.progress import Progress
from tune.rendering.table import format_percent
from tune.resources.execution_options import ExecutionOptions
from tune.resources.storage_settings import own_storage, with_kept_storage
from tune.search.plan import Search
from tune.search.results import Findings
from tune.trials.ledger import Ledger

FOLDER = "final"
_FILE = "final.json"


@dataclass(frozen=True)
class Final:
    """What the choice of a search came to on the test samples.

    Attributes:
        searched: The chosen values of the searched fields.
        epochs: How long it was trained.
        accuracies: On the test split, a fraction for each seed that came to its end.
        seeds: How many were asked for.
        samples: Of the test split.
        failures: Causes, a line each.
        complete: Whether no seed is left to run; False where the time was up before.
    """

    searched: dict[str, Any]
    epochs: int
    accuracies: tuple[float, ...]
    seeds: int
    samples: int
    failures: tuple[str, ...] = ()
    complete: bool = True

    def sentence(self) -> str:
        """For people."""
        if not self.accuracies:
            why = self.failures[0] if self.failures else f"0 of {self.seeds} seeds so far"
            return f"The choice did not come to its end: {why}"
        each = ", ".join(format_percent(accuracy) for accuracy in self.accuracies)
        spread = f" ± {100 * stdev(self.accuracies):.1f}" if len(self.accuracies) > 1 else ""
        missing = ""
        if not self.complete:
            missing = f"; {len(self.accuracies)} of {self.seeds} seeds so far"
        elif self.failures:
            missing = f"; {self.seeds - len(self.accuracies)} of {self.seeds} seeds failed"
        return (
            f"The choice, trained anew on all training samples for {self.epochs} epochs: test accuracy "
            f"{format_percent(fmean(self.accuracies))}{spread} % of {self.samples} samples ({each}){missing}."
        )


def read_final(folder: Path) -> Final | None:
    """What the choice of a search came to, finished or not; None while none of its runs has ended.

    Raises:
        RunError: If `final.json` is damaged.
    """
    path = folder / _FILE
    said = read_json(path)
    if said is None:
        return None
    try:
        return Final(
            dict(said["searched"]),
            int(said["epochs"]),
            tuple(map(float, said["test_accuracies"])),
            len(said["seeds"]),
            int(said["test_samples"]),
            tuple(map(str, said["failures"])),
            bool(said.get("complete", True)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error!r}). Delete it, and go on: spikeloom tune --resume {folder}") from None


class Parts:
    """A source of the choice's runs: for each seed its parts one after another, of which ordinary trials have one.

    A member of a population changed its settings as it trained: its parts are trained as they were, each from the one
    before.
    """

    def __init__(self, parts: Sequence[RunConfig], seeds: Sequence[int], folder: Path) -> None:
        """
        Args:
            parts: In order, each with the epoch that it ends at.
            seeds: One run for each.
            folder: Of the ledger.
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
        return ()

    @property
    def exhausted(self) -> bool:
        return all(self._next(k) is None for k in range(len(self.last)))

    def _next(self, k: int) -> RunConfig | None:
        """The first part of a seed that is not done; None where all are, or one failed in this session."""
        for config in self.configs[k * self._parts : (k + 1) * self._parts]:
            record = self._ledger.read_done(config)
            if record is None or record["status"] != "done":
                failed = record is not None and fingerprint(config) in self._asked
                return None if failed else config
        return None

    def ask(self) -> Sequence[RunConfig]:
        """The next part of every seed whose part before is done."""
        found = [config for k in range(len(self.last)) if (config := self._next(k)) is not None]
        new = [config for config in found if fingerprint(config) not in self._asked]
        self._asked |= {fingerprint(config) for config in new}
        return new

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        """The ledger says it."""


def run_final(
    findings: Findings, folder: Path, *, execution: ExecutionOptions | None = None, progress: Progress | None = None
) -> Final | None:
    """Train the best of the complete trials anew, as often as the search says, and test it; what is done stays.

    Only the last part of each run opens the test samples.

    Args:
        findings: Of the finished search.
        folder: The search's own.
        execution: Where the trials ran.
        progress: Where to tell.

    Returns:
        What it came to; None where the search asks for none.
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
    parts = chosen_parts(findings, folder)
    # Seeds that no trial had: those that chose it flatter it.
    first = max(config.seed for config in search.configs()) + 1
    source = Parts(parts, range(first, first + search.final_seeds), folder / FOLDER)
    complete = run_trials(
        source,
        folder / FOLDER,
        search.cache,
        open_test=True,
        count=len(source.configs),
        execution=execution,
        fields=["seed"],
        progress=progress,
        resume=resume,
    )
    return _write(findings, parts, source, folder, complete)


def chosen_parts(findings: Findings, folder: Path) -> list[RunConfig]:
    """The best trial's configuration, on all training samples and to the epoch that validation chose; all its parts."""
    search, ledger = findings.search, Ledger(folder)
    runs = {fingerprint(config): config for config in search.configs()}
    chosen = runs[findings.ranked[0]["trial"]]
    epoch = _chosen_epoch(search, chosen, ledger)
    parts = [chosen]
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


def _chosen_epoch(search: Search, chosen: RunConfig, ledger: Ledger) -> int:
    """The epoch whose weights were selected: of several seeds the median."""
    for changes in search.trials:
        repeats = search.repeats(changes)
        if chosen in repeats:
            results = [read_json(ledger.trial_folder(config) / "result.json") for config in repeats]
            return max(1, round(median(result["epoch"] for result in results if result is not None)))
    raise AssertionError("the choice is one of the trials")


def _write(findings: Findings, parts: Sequence[RunConfig], source: Parts, folder: Path, complete: bool) -> Final:
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
