"""Targets for the folders of searches and comparisons: plans, ledgers, progress and results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.config.run_config import fingerprint, load_config
from preprocess.files import write_json, write_lines
from tests.test_tune.made_up import CONFIG, write_comparison_runs, write_run
from tune.commands import status_view
from tune.commands.status_view import Status, read_status
from tune.comparison.comparison_plan import Comparison, compare_neurons, read_comparison, read_outcomes
from tune.objective.objective_search import ObjectiveSearch, trial_id
from tune.report.page import read_report
from tune.search.final_runs import read_final
from tune.search.search_findings import read_findings, write_tables
from tune.search.search_plan import Search, SearchData, read_search
from tune.trials.ledger import Ledger
from tune.trials.live_status import read_live_status
from tune.trials.results_frame import load_results
from tune.trials.results_tables import collect_epochs

from .mutators import edit_json, set_number
from .run_targets import printed
from .target import Target

_MUTATORS = edit_json, edit_json, set_number
_FOLDER = "search"

_SEARCH = Search(
    "gestures-small",
    dataclasses.replace(CONFIG, selection="validation"),
    ("neuron.tau=1.5,2,3",),
    ("neuron.tau",),
    tuple({"neuron.tau": tau} for tau in (1.5, 2.0, 3.0)),
    "asha",
    Path("no-cache"),
    SearchData(emulated=True, train=275, validation=55),
    samples=3,
    final_seeds=2,
)
_DONE, _STARTED, _FAILED = _SEARCH.configs()
_OBJECTIVE = ObjectiveSearch(
    "objective",
    "0" * 64,
    {"lr": "0.001:0.1:log"},
    "random",
    "asha",
    "max",
    3,
    ({"lr": 0.01}, {"lr": 0.02}, {"lr": 0.03}),
)
_COMPARISON = compare_neurons("gestures-small", CONFIG, ("lif", "clif"), (7, 8), Path("no-cache"))


def search_targets() -> Iterator[Target]:
    """A target for each file of a search, of the search of an objective, and of a comparison."""
    done, started = (f"trials/{fingerprint(config)}" for config in (_DONE, _STARTED))
    trial, other = (f"trials/{trial_id(values)}" for values in _OBJECTIVE.trials[:2])
    compared = f"trials/{fingerprint(_COMPARISON.configs()[0])}"
    of_searches = {
        "search-plan": "search.json",
        "ledger-done": f"{done}/done.json",
        "ledger-epochs": f"{started}/metrics.jsonl",
        "ledger-timings": f"{done}/timings.jsonl",
        "ledger-environment": f"{done}/environment.json",
        "ledger-basis": "basis.json",
        "search-status": "status.json",
        "search-final": "final.json",
        "search-best": "best.json",
        "search-results": "results.csv",
    }
    of_objectives = {
        "objective-plan": "objective.json",
        "objective-done": f"{trial}/done.json",
        "objective-epochs": f"{other}/metrics.jsonl",
    }
    of_comparisons = {
        "comparison-plan": "comparison.json",
        "comparison-result": f"{compared}/result.json",
        "comparison-epochs": f"{compared}/metrics.jsonl",
    }
    for write, read, files in (
        (_write_search, _read_search, of_searches),
        (_write_objective, _read_objective, of_objectives),
        (_write_comparison, _read_comparison, of_comparisons),
    ):
        for name, file in files.items():
            yield _target(name, file, write, read)
    # Drawing a page takes a hundred times as long as reading what it draws.
    yield _target("report-of-search", f"{done}/done.json", _write_search, _report)
    yield _target("report-of-plan", "search.json", _write_search, _report)
    yield _target("report-of-comparison", f"{compared}/result.json", _write_comparison, _report)
    yield _target("report-of-objective", f"{other}/metrics.jsonl", _write_objective, _report)


def _target(name: str, file: str, write: Callable[[Path], None], read: Callable[[Path], None]) -> Target:
    def seeds(folder: Path) -> Iterator[bytes]:
        write(folder)
        yield (folder / _FOLDER / file).read_bytes()

    def read_folder(path: Path) -> None:
        read(path.parents[len(Path(file).parts) - 1])

    return Target(name, f"{_FOLDER}/{file}", seeds, read_folder, prepare=write, mutators=_MUTATORS)


def _write_search(folder: Path) -> None:
    """A search with one trial that is complete, one that has been interrupted and one that failed."""
    place = folder / _FOLDER
    place.mkdir()
    _SEARCH.write(place)
    ledger = Ledger(place)
    write_run(ledger.trial_folder(_DONE), _DONE)
    ledger.end(_DONE, "done")
    write_run(ledger.trial_folder(_STARTED), _STARTED)
    (ledger.trial_folder(_STARTED) / "result.json").unlink()
    ledger.trial_folder(_FAILED).mkdir()
    ledger.end(_FAILED, "failed", "its process died: out of memory")
    write_tables(_SEARCH, place)
    ledger.bind({"data set": "0" * 32, "the file /nowhere/a.py": "1" * 64})
    running = {
        "trial": fingerprint(_STARTED), "values": {"neuron.tau": 2.0}, "epoch": 2, "epochs": 5,
        "validation_accuracy": 0.5, "seconds": 2.5, "node": "a",
    }  # fmt: skip
    status = {
        "state": "running", "updated": "2026-01-01T00:00:00+00:00", "host": "a", "process": 1, "trials": {"done": 1},
        "running": [running], "best": None, "steps": {"done": 3, "all": 9}, "elapsed_s": 9.5, "left_s": 20.0,
    }  # fmt: skip
    write_json(place / "status.json", status)
    final = {
        "searched": {"neuron.tau": 2.0}, "epochs": 5, "test_accuracies": [0.5, 0.6], "seeds": [1, 2],
        "test_samples": 40, "failures": [], "complete": True,
    }  # fmt: skip
    write_json(place / "final.json", final)


def _read_search(place: Path) -> None:
    """What `status`, `tune --resume` and Python scripts read of a search."""
    status = read_status(place)
    assert isinstance(status, Status)
    _print(status)
    _print_as_running(status, place)
    search = read_search(place)
    findings = read_findings(search, place)
    with printed():
        findings.table().print()
        print(*findings.sentences(), *findings.failures(), sep="\n")
    assert len(collect_epochs(place, search.configs(), search.fields)) >= 0
    ledger = Ledger(place)
    ledger.bind({"data set": "0" * 32})
    assert ledger.changed_code() == [] and isinstance(ledger.accepted(), list)
    # What a resumed search records of a trial that ends now; it must not change the folder.
    before = (ledger.trial_folder(_DONE) / "done.json").read_bytes()
    try:
        ledger.end(_DONE, "done")
    finally:
        (ledger.trial_folder(_DONE) / "done.json").write_bytes(before)
    final = read_final(place)
    assert final is not None and len(final.sentence().splitlines()) == 1
    load_config(place / "best.json")
    assert {"trial", "status"} <= set(load_results(place).columns) or len(load_results(place)) == 0


def _print(status: Status) -> None:
    with printed():
        status.table().print()
        print(*status.lines(), sep="\n")
        print(json.dumps(status.describe()))


def _print_as_running(status: Status, place: Path) -> None:
    """The same while a driver works in the folder, as its last status says; a damaged one counts as missing."""
    live = read_live_status(place)
    if live is not None:
        live["age_s"] = 1.0
    status_view._mark_running(status.rows, True, live)
    _print(dataclasses.replace(status, alive=True, live=live))


def _write_objective(folder: Path) -> None:
    """The search of an objective with one complete trial, an interrupted one and one that waits."""
    place = folder / _FOLDER
    for number, values in enumerate(_OBJECTIVE.trials[:2]):
        trial = place / "trials" / trial_id(values)
        trial.mkdir(parents=True)
        write_json(trial / "config.json", values)
        write_lines(
            trial / "metrics.jsonl", [{"epoch": epoch, "score": 0.1 * epoch, "loss": 1.0} for epoch in (1, 2, 3)]
        )
        if number == 0:
            ended = {"epochs": 3, "score": 0.3, "seconds": 2.5, "ended": "2026-01-01T00:00:00+00:00", "error": None}
            write_json(trial / "done.json", {"trial": trial_id(values), "status": "done"} | ended)
    write_json(place / "objective.json", dataclasses.asdict(_OBJECTIVE) | {"trials": list(_OBJECTIVE.trials)})


def _read_objective(place: Path) -> None:
    found = read_status(place)
    with printed():
        found.table().print()
        print(*found.lines(), sep="\n")
        print(json.dumps(found.describe()))


def _write_comparison(folder: Path) -> None:
    counts = {("", "lif"): [30, 28], ("", "clif"): [31, 33]}
    place = folder / _FOLDER
    declared = _COMPARISON.declare(0)
    write_comparison_runs(place, declared, counts)


def _read_comparison(place: Path) -> None:
    """What `status`, `compare --resume` and the report read of a comparison; damaged runs are outcomes."""
    status = read_status(place)
    assert isinstance(status, Status)
    _print(status)
    comparison = read_comparison(place)
    assert isinstance(comparison, Comparison)
    outcomes = read_outcomes(comparison, place)
    assert len(outcomes) == len(comparison.cells()) * len(comparison.seeds)
    for outcome in outcomes.values():
        assert len(outcome.missing.splitlines()) <= 1
        assert outcome.missing or 0 <= outcome.result["test_accuracy"] <= 1


def _report(place: Path) -> None:
    assert all(len(line.splitlines()) == 1 for line in read_report(place).errors)
