"""What `import tune` exports: search, also over an objective of your own, compare, load_results and report."""

from __future__ import annotations

import inspect
import json
import os
import random
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from messages import refuses

import tune
from preprocess.errors import ConfigError, RunError
from tune.cli import COMMANDS
from tune.commands import list_runs
from tune.commands.status_view import read_status
from tune.objective.objective_findings import read_objective
from tune.objective.objective_search import (
    ObjectiveLedger,
    ObjectiveSearch,
    Report,
    _nothing_completed,
    search_objective,
    trial_id,
)
from tune.objective.objective_space import draw_values, parse_values
from tune.search.search_call import space_entries
from tune.search.search_plan import read_search
from tune.space.dimensions import Choice, Range
from tune.trials.results_tables import read_results, write_results

SPACE = {"lr": "0.001:0.1:log", "width": "16,32"}


def objective(values: dict[str, object], report: Report) -> None:
    for _ in range(3):
        report(0.5)


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, tune; sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'ray', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_search_and_report_are_packages_that_are_called() -> None:
    """A function of the name of a package would be replaced by it as soon as a module of it is imported."""
    code = """
import tune
assert callable(tune.search) and callable(tune.report)
import tune.search.search_plan, tune.report.page
from tune import report, search
assert callable(search) and search is tune.search and tune.search.search_plan and callable(report)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert isinstance(tune.search, ModuleType) and all(hasattr(tune, name) for name in tune.__all__)
    with refuses(ConfigError, where="search", expected="either a configuration or an objective", found="neither"):
        tune.search()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tune.nothing  # noqa: B018


def test_a_space_is_written_by_name_or_as_entries() -> None:
    assert space_entries({"neuron.tau": "1.5:4", "neuron.name": "lif,clif"}) == (
        "neuron.tau=1.5:4",
        "neuron.name=lif,clif",
    )
    assert space_entries({"neuron.tau": [1.5, 2], "neuron.name": ("lif", "clif"), "batch_size": 8}) == (
        "neuron.tau=1.5,2",
        "neuron.name=lif,clif",
        "batch_size=8",
    )
    assert space_entries("table3") == ("table3",) and space_entries(["a=1", "b=2"]) == ("a=1", "b=2")


def test_values_have_the_grammar_of_space() -> None:
    found = parse_values({"lr": "0.001:0.1:log", "n": "1:4", "k": "1:16:log:3", "act": "relu,none,true,2,0.5"})
    assert found[0] == Range("lr", 0.001, 0.1, True, False) and found[1] == Range("n", 1, 4, False, True)
    assert found[2] == Choice("k", (1, 4, 16)) and found[3] == Choice("act", ("relu", None, True, 2, 0.5))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1:", "a,b,c"), ("4:1", "lo < hi"), ("0:1:log", "lo > 0"), ("a:b", "a,b,c"), ("1,,2", "a,b,c"), ("1:2:1", "2")],
)
def test_values_that_cannot_be_read_are_named(text: str, expected: str) -> None:
    with refuses(ConfigError, where=f"space a={text}", expected=expected, errors=1):
        parse_values({"a": text})


def test_values_of_a_space_may_be_lists() -> None:
    search = plan(space={"lr": [0.1, 0.2], "act": ("relu", None, True), "width": 16})
    assert {(values["lr"], values["act"], values["width"]) for values in search.trials} == {
        (lr, act, 16) for lr in (0.1, 0.2) for act in ("relu", None, True)
    }
    assert search.space == {"lr": "0.1,0.2", "act": "relu,none,true", "width": "16"}
    for values, found in (([], "an empty list"), ([[1, 2]], "[1, 2]"), ({"a": 1}, "{'a': 1}"), (["a,b"], "'a,b'")):
        with refuses(ConfigError, where="space lr", expected="a list", found=found, errors=1):
            plan(space={"lr": values})


def test_trials_are_distinct_and_drawn_by_the_seed() -> None:
    dimensions = parse_values(SPACE)
    drawn = draw_values(dimensions, "random", 10, 3)
    assert drawn == draw_values(dimensions, "random", 10, 3) != draw_values(dimensions, "random", 10, 4)
    assert len({trial_id(values) for values in drawn}) == 10
    assert [values["width"] for values in drawn].count(16) == 5
    grid = parse_values({"lr": "0.1:1:log:2", "width": "16,32"})
    assert draw_values(grid, "grid", None, 0) == [{"lr": lr, "width": w} for lr in (0.1, 1.0) for w in (16, 32)]
    assert len(draw_values(grid, "random", 24, 0)) == 4 and len(draw_values(grid, "grid", 3, 0)) == 3
    with refuses(ConfigError, where="method grid", found="inf"):
        draw_values(dimensions, "grid", None, 0)


def test_options_of_an_objective_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with refuses(ConfigError, where="scheduler asha", expected="epochs"):
        tune.search(objective=objective, space=SPACE, scheduler="asha", out=tmp_path)
    with refuses(ConfigError, where="method", expected="random or grid", found="tpe"):
        tune.search(objective=objective, space=SPACE, method="tpe", out=tmp_path)
    with refuses(ConfigError, where="space", expected="values by name"):
        tune.search(objective=objective, space="table3", out=tmp_path)
    with refuses(ConfigError, where="--hours", found="-1"):
        tune.search(objective=objective, space=SPACE, hours=-1, out=tmp_path)
    with refuses(ConfigError, where="scheduler", expected="asha or none", found="hyperband"):
        tune.search(objective=objective, space=SPACE, scheduler="hyperband", epochs=3, out=tmp_path)
    with refuses(ConfigError, where="final_seeds", expected="only with a configuration", found="2", errors=3):
        tune.search(objective=objective, space=SPACE, repeats=3, final_seeds=2, cache="cache", out=tmp_path)
    with refuses(ConfigError, where="epochs", expected="only with an objective", found="3", errors=2):
        tune.search("n-mnist-small", epochs=3, seed=4, out=tmp_path)
    with refuses(ConfigError, where="objective", expected="a function", found="5"):
        tune.search(objective=5, space=SPACE, out=tmp_path)
    with refuses(ConfigError, where="config", expected="the name of a preset", remedy="as objective="):
        tune.search(objective, SPACE, out=tmp_path)
    with refuses(ConfigError, where="space", expected="entries of --space", found="5"):
        tune.search("n-mnist-small", 5, out=tmp_path)
    (tmp_path / "file").touch()
    with refuses(RunError, expected="an empty folder", found="other files"):
        tune.search(objective=objective, space=SPACE, out=tmp_path)
    report = Report(lambda row: None)
    with pytest.raises(ValueError, match="finite"):
        report(float("nan"))


def plan(**changes: object) -> ObjectiveSearch:
    options: dict[str, object] = {
        "method": "grid",
        "samples": None,
        "scheduler": None,
        "mode": "max",
        "epochs": None,
        "seed": 0,
    }
    options["space"] = {"lr": "0.1,0.2", "width": "16"}
    return ObjectiveSearch.of(objective, **(options | changes))  # type: ignore[arg-type]


def test_a_finished_folder_is_read_and_another_search_refused(tmp_path: Path) -> None:
    search = plan()
    ledger = ObjectiveLedger(tmp_path, search)
    for values, scores in zip(search.trials, ((0.2, 0.6, 0.4), (0.5, 0.3, 0.1)), strict=True):
        ledger.begin(values)
        for epoch, score in enumerate(scores, 1):
            ledger.add(values, {"epoch": epoch, "score": score})
        ledger.end(values, "done")
    (tmp_path / "objective.json").write_text(json.dumps({"source": "", **_asked(search)}))
    found = search_objective(search, objective, tmp_path)
    assert (found.best, found.score, found.complete) == ({"lr": 0.1, "width": 16}, 0.6, True)
    frame = tune.load_results(tmp_path)
    assert frame["score"].tolist() == [0.6, 0.5] and frame["lr"].tolist() == [0.1, 0.2]
    for values in search.trials:
        ledger.end(values, "failed", "KeyError: 'w' (a.py, line 3)")
    with refuses(RunError, expected="a completed trial", found="2 failed ones (KeyError: 'w' (a.py, line 3))"):
        raise _nothing_completed(tmp_path, [str(row["error"]) for row in ledger.results()])
    with refuses(RunError, found="another mode"):
        search_objective(plan(mode="min"), objective, tmp_path)
    changed = tmp_path / "objective.json"
    changed.write_text(json.dumps(json.loads(changed.read_text()) | {"source": "abc"}))
    with refuses(RunError, found="code changed"):
        search_objective(search, objective, tmp_path)


def written_search(folder: Path, mode: str = "max") -> Path:
    """The folder of a search of which one trial is complete, one was pruned, one failed, one began and one waits."""
    search = plan(space={"k": "1:5", "way": "a"}, mode=mode, epochs=2)
    folder.mkdir(parents=True)
    (folder / "objective.json").write_text(json.dumps({"source": "", **_asked(search)}))
    ledger = ObjectiveLedger(folder, search)
    for number, (values, end) in enumerate(zip(search.trials, ("done", "pruned", "failed", None), strict=False)):
        ledger.begin(values)
        for epoch in range(1, 1 + (2 if end == "done" else 1)):
            ledger.add(values, {"epoch": epoch, "score": number + epoch / 8, "loss": 0.25})
        if end:
            ledger.end(values, end, "ValueError: no" if end == "failed" else None)
    return folder


def test_a_measure_may_be_called_epoch(tmp_path: Path) -> None:
    search = plan()
    values, ledger = search.trials[0], ObjectiveLedger(tmp_path, search)
    ledger.begin(values)
    report = Report(partial(ledger.add, values))
    for score in (0.25, 0.5):
        report(score, epoch=0.0)
    assert ledger.rows(values) == [{"epoch": 1, "score": 0.25}, {"epoch": 2, "score": 0.5}]
    # As earlier versions wrote it.
    (ledger.path(values) / "metrics.jsonl").write_text('{"epoch": 0.0, "score": 0.5}\n')
    assert ledger.rows(values) == [{"epoch": 1, "score": 0.5}]


def test_a_search_that_ended_before_its_first_trial_has_an_empty_table(tmp_path: Path) -> None:
    write_results(tmp_path, [], ["neuron.tau"])
    assert read_results(tmp_path) == []


def test_commands_show_the_search_of_an_objective(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written_search(tmp_path / "mine")
    status = read_status(folder)
    assert status.lines()[0].startswith("5 trials: 1 interrupted, 1 failed, 1 done, 1 pruned, 1 waiting")
    assert "0.25, k=" in status.lines()[1] and "tune.search" in status.lines()[2] and not status.alive
    table = status.table()
    assert table.columns == ("trial", "status", "k", "way", "reports", "best score", "loss", "seconds")
    assert {row[1]: row[4:7] for row in table.rows} == {
        "interrupted": ("1/2", "3.125", "0.25"),
        "failed": ("1/2", "2.125", "0.25"),
        "done": ("2/2", "0.25", "0.25"),
        "pruned": ("1/2", "1.125", "0.25"),
    }
    described = json.loads(json.dumps(status.describe()))
    assert described["best"]["score"] == 0.25 and len(described["trials"][0]["reports"]) == 2
    page = tune.report(folder).read_text()
    assert "ValueError: no" in page and "Score by report" in page and page.count("<tr") >= 5
    list_runs.run([str(tmp_path)])
    assert "mine" in (output := capsys.readouterr().out) and "0.25" in output
    list_runs.run([str(tmp_path), "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert listed["runs"] == [] and listed["objectives"][0]["best"]["score"] == 0.25
    assert COMMANDS["runs"].module == "tune.commands.list_runs"


def test_the_lowest_score_is_the_best_of_a_search_that_minimises(tmp_path: Path) -> None:
    found = read_objective(written_search(tmp_path / "mine", "min"))
    assert "lowest" in found.best_sentence() and "0.125," in found.best_sentence()


def test_what_cannot_be_shown_of_an_objective_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "objective.json").write_text("{}")
    for read in (read_status, tune.report):
        with refuses(RunError, where="objective.json", expected="damaged", remedy="another folder", errors=1):
            read(tmp_path)
    with refuses(RunError, found="the search of an objective", remedy="tune.search", errors=1):
        read_search(tmp_path)
    with refuses(RunError, where=str(tmp_path), expected="at least one run", found="none"):
        list_runs.run([str(tmp_path)])
    assert "left out" in capsys.readouterr().err
    with refuses(RunError, where=str(tmp_path), expected="with results.csv", found="none", remedy="spikeloom runs"):
        tune.load_results(tmp_path)


def test_a_folder_may_be_text_and_neurons_may_not(tmp_path: Path) -> None:
    with refuses(RunError, where="none", expected="the folder of a run", found="no such folder"):
        tune.report(str(tmp_path / "none"))
    with refuses(ConfigError, where="neurons", expected="a list", found="'lif,clif'", remedy="['lif', 'clif']"):
        tune.compare("n-mnist-small", "lif,clif", out=tmp_path)


def test_help_shows_the_signature_of_packages_that_are_called() -> None:
    assert list(inspect.signature(tune.search).parameters)[:3] == ["config", "space", "objective"]
    for package, argument in ((tune.search, "objective"), (tune.report, "folder")):
        assert argument in (inspect.getdoc(package) or "") and "spikeloom" not in package.__name__
    assert "Repeating the call with the same `out`" in (inspect.getdoc(tune.search) or "")


def _asked(search: ObjectiveSearch) -> dict[str, object]:
    from dataclasses import asdict

    return {name: value for name, value in asdict(search).items() if name != "source"}


@pytest.mark.slow
@pytest.mark.ray
def test_an_objective_is_searched_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Failed trials are recorded with their cause and tried again by the next call; finished ones are not.

    Trials that follow each other share a process, and draw the same numbers whatever was drawn in it before.
    """

    def flaky(values: dict[str, object], report: Report) -> None:
        with (tmp_path / f"calls-{values['k']}").open("a") as calls:
            calls.write(f"{os.getpid()} {random.random()}\n")
        report(float(values["k"]), loss=2.0)  # type: ignore[arg-type]
        if values["k"] == 3 and not (tmp_path / "mended").exists():
            raise RuntimeError("no luck")

    def run() -> tune.SearchResult:
        return tune.search(
            objective=flaky, space={"k": "1:3"}, method="grid", mode="min", out=tmp_path / "search", concurrent=1
        )

    found = run()
    assert found.best == {"k": 1} and found.score == 1.0 and found.config is None
    frame = found.frame()
    assert frame["status"].tolist() == ["done", "done", "failed"]
    cause = frame["error"].tolist()[2]
    assert re.fullmatch(r"RuntimeError: no luck \(test_tune_library.py, line \d+\)", cause)
    notes = capsys.readouterr().err
    assert f"(k=3): failed: {cause}" in notes and "(k=1): done" in notes
    assert "1 of 3 trials failed and are not ranked" in notes
    (tmp_path / "mended").touch()
    assert run().frame()["status"].tolist() == ["done"] * 3
    calls = [[line.split() for line in (tmp_path / f"calls-{k}").read_text().splitlines()] for k in (1, 2, 3)]
    assert [len(of_trial) for of_trial in calls] == [1, 1, 2]
    assert len({of_trial[0][0] for of_trial in calls}) == 1 and calls[2][0][0] != calls[2][1][0]
    assert calls[2][0][1] == calls[2][1][1] and len({of_trial[0][1] for of_trial in calls}) == 3
    epochs = (tmp_path / "search" / "epochs.csv").read_text().splitlines()
    assert epochs[0] == "trial,k,epoch,score,loss" and len(epochs) == 4
