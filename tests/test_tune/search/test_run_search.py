"""A real search through Ray: what it writes, what it says, and what becomes of trials that fail, die or are poor."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.config.run_config import RunConfig, load_config, override
from pipeline.runs.result_json import COST_COLUMNS
from preprocess.errors import CacheError, ConfigError, RunError
from preprocess.terminal.command_line import run_main
from tune.cli import COMMANDS
from tune.resources.allocation import ResourceRequest
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.options import SearchOptions
from tune.search.run_search import run_search
from tune.search.search_findings import read_findings
from tune.search.search_plan import FILE, Search, plan_search, read_search
from tune.trials.ledger import Ledger
from tune.trials.progress_view import LiveTable
from tune.trials.results_tables import read_results

OUTSIDE = """
import os, signal
from spikingjelly.activation_based.neuron import LIFNode

class Raises(LIFNode):
    def multi_step_forward(self, x):
        # Not of the tiny batches that show whether a class can train at all.
        if x.shape[1] > 3:
            raise ValueError("no spikes\\ntoday")
        return super().multi_step_forward(x)

class Dies(LIFNode):
    def multi_step_forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def plan(config: RunConfig, cache: Path, *space: str, scheduler: str | None = "none", **words: Any) -> Search:
    return plan_search("tiny", config, SearchOptions(space, scheduler=scheduler, **words), cache)


def on(concurrent: int, **options: Any) -> ExecutionOptions:
    """This machine, so many trials at once."""
    return ExecutionOptions(request=ResourceRequest(concurrent=concurrent), **options)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of neurons that a user wrote, badly."""
    path = tmp_path_factory.mktemp("outside") / "bad.py"
    path.write_text(OUTSIDE)
    return path


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_config: RunConfig, tiny_cache: Path, outside: Path, shared_ray: None
) -> tuple[Search, Path]:
    """A search of four trials that end well, one whose neuron raises, and one whose process is killed."""
    search = plan(tiny_config, tiny_cache, "binning.timesteps=2,4", "neuron.tau=1.5,2", "neuron.name=lif")
    bad = [search.trials[0] | {"neuron.name": f"{outside}:{name}"} for name in ("Raises", "Dies")]
    search = replace(search, trials=(*search.trials[:2], *bad, *search.trials[2:]))
    folder = tmp_path_factory.mktemp("search") / "out"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_search(search, folder, execution=on(2))
    assert printed.getvalue() == ""
    return search, folder


@pytest.mark.ray
def test_search_goes_on_when_trials_fail_or_die(finished: tuple[Search, Path]):
    search, folder = finished
    findings = read_findings(search, folder)
    assert findings.counts() == {"done": 4, "failed": 2}
    assert {row["neuron.name"] for row in findings.ranked} == {"lif"}
    raised, died = findings.failures()
    assert raised.endswith("neuron=Raises) failed: ValueError: no spikes today")
    (log,) = folder.glob("trials/*/died.txt")
    assert died.endswith(
        "neuron=Dies) failed: its process died 3 times: it was killed, ran out of memory or crashed. "
        f"Ray's message: {log.relative_to(folder)}"
    )
    # Nothing that Ray said is lost.
    assert log.read_text().count("The actor died unexpectedly") == 3


@pytest.mark.ray
def test_tables_hold_every_trial_and_epoch(finished: tuple[Search, Path]):
    _, folder = finished
    rows = read_results(folder)
    assert list(rows[0]) == [
        *("trial", "status", "binning.timesteps", "neuron.tau", "neuron.name", "seed"),
        *("epochs", "validation_accuracy", "test_accuracy", "firing_rate", "energy_uj", "seconds", "micro_batch"),
        *(name for name in COST_COLUMNS if name != "energy_uj"),
    ]
    assert len(rows) == 6
    done = [row for row in rows if row["status"] == "done"]
    assert all(row["epochs"] == 3 and row["test_accuracy"] is None and row["seconds"] > 0 for row in done)
    assert max(row["validation_accuracy"] for row in done) > 0.6
    assert (folder / "epochs.csv").read_text().count("\n") == 1 + 3 * 4


@pytest.mark.ray
def test_test_samples_stay_closed(finished: tuple[Search, Path]):
    _, folder = finished
    assert not list(folder.rglob("predictions.npz"))
    assert not any("test_accuracy" in json.loads(path.read_text()) for path in folder.rglob("result.json"))


@pytest.mark.ray
def test_best_configuration_is_one_that_train_takes(finished: tuple[Search, Path]):
    search, folder = finished
    best = read_findings(search, folder).ranked[0]
    config = load_config(folder / "best.json")
    assert config in search.configs()
    assert (config.binning.timesteps, config.neuron.tau) == (best["binning.timesteps"], best["neuron.tau"])
    # Where the trial ran is no part of the choice.
    assert (config.device, config.threads, config.selection) == ("auto", None, "validation")
    said = json.loads((folder / "best.json").read_text())["search"]
    assert said["validation_accuracy"] == best["validation_accuracy"]
    assert (said["trials"]["done"], said["emulated"], said["split"]) == (4, False, "official")


@pytest.mark.ray
def test_figures_are_drawn_and_nothing_of_ray_stays(finished: tuple[Search, Path]):
    _, folder = finished
    assert {path.name for path in (folder / "figures").iterdir()} == {
        f"{name}.{kind}" for name in ("accuracy", "tau-timesteps", "pareto", "budget") for kind in ("svg", "png")
    }
    assert not (folder / ".ray").exists()
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.ray
def test_trials_compute_on_their_share_of_the_machine(finished: tuple[Search, Path]):
    search, folder = finished
    done = [config for config in search.configs() if config.neuron.name == "lif"]
    for config in done:
        environment = json.loads((Ledger(folder).trial_folder(config) / "environment.json").read_text())
        assert environment["threads"] == max(1, len(os.sched_getaffinity(0)) // 2)
        assert environment["device"] == "cpu"
        # The record says what the user typed, not how Ray starts its workers.
        assert environment["command"] == sys.argv


@pytest.mark.ray
def test_finished_search_runs_nothing_again_and_failed_trials_once_more(finished: tuple[Search, Path]):
    search, folder = finished
    ledger = Ledger(folder)
    names = [config.neuron.name.rpartition(":")[2] for config in ledger.unfinished(search.configs())]
    assert names == ["Raises", "Dies"]


@pytest.mark.ray
def test_poor_trials_are_pruned_and_have_no_rank(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None, monkeypatch
):
    """One after another, on a terminal: the first learns, so the others, which hardly move, stop at epoch 2."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    config = override(tiny_config, {"schedule.epochs": 4})
    search = plan(config, tiny_cache, "optimiser.learning_rate=0.1,1e-7,2e-7", scheduler="asha")
    trials = sorted(search.trials, key=lambda changes: -changes["optimiser.learning_rate"])
    findings = run_search(replace(search, trials=tuple(trials)), tmp_path / "out", execution=on(1))
    assert [row["status"] for row in findings.rows] == ["done", "pruned", "pruned"]
    assert [row["epochs"] for row in findings.rows] == [4, 2, 2]
    assert [row["optimiser.learning_rate"] for row in findings.ranked] == [0.1]
    spent, full = findings.budget()
    assert spent / full == (4 + 2 + 2) / 12
    assert "1 done, 2 pruned; pruned trials are not ranked" in findings.sentences()[0]


@pytest.mark.long
@pytest.mark.ray
def test_search_without_one_complete_trial_is_a_fault_with_the_causes(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, outside: Path, shared_ray: None, capsys
):
    words = ["tune", "--config", str(tmp_path / "c.json"), "--cache", str(tiny_cache), "--out", str(tmp_path / "out")]
    from pipeline.config.run_config import to_dict

    (tmp_path / "c.json").write_text(json.dumps(to_dict(tiny_config)))
    code = run_main(COMMANDS, prog="", description="", argv=[*words, "--space", f"neuron.name={outside}:Raises"])
    assert code == 2
    err = capsys.readouterr().err.splitlines()
    assert err[-2:] == [
        f"spikeloom: {tmp_path}/out: no trial was completed, because:",
        "spikeloom: ValueError: no spikes today",
    ]
    assert read_results(tmp_path / "out")[0]["status"] == "failed"
    assert not (tmp_path / "out" / "best.json").exists()


def test_plan_is_read_back_as_it_was(tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path):
    search = plan(tiny_config, tiny_cache, "neuron.tau=1.1:4:log", "input.size=none,16", samples=5)
    search.write(tmp_path)
    assert read_search(tmp_path) == search
    assert len(search.configs()) == 5


def test_search_validates_whatever_the_configuration_selects_by(tiny_config: RunConfig, tiny_cache: Path):
    config = override(tiny_config, {"selection": "paper"})
    search = plan(config, tiny_cache, "neuron.tau=2,3")
    assert all(config.selection == "validation" for config in search.configs())
    assert (search.data.train, search.data.validation) == (15, 15)


def test_names_that_do_not_exist_are_told_together_before_anything_runs(tiny_config: RunConfig, tiny_cache: Path):
    config = override(tiny_config, {"network.name": "vgsnn"})
    with pytest.raises(ConfigError) as caught:
        plan(config, tiny_cache, "neuron.name=lif,clfi")
    assert any("network.name" in message and "Did you mean 'vggsnn'?" in message for message in caught.value.errors)
    assert any("neuron.name" in message and "'clfi'" in message for message in caught.value.errors)


def test_batch_larger_than_the_training_set_is_told_before_anything_runs(tiny_config: RunConfig, tiny_cache: Path):
    with pytest.raises(ConfigError, match="batch_size: expected at most the 15 training samples, found 64"):
        plan(tiny_config, tiny_cache, "batch_size=4,64")
    kept = plan(override(tiny_config, {"keep_last": True}), tiny_cache, "batch_size=4,64")
    assert [changes["batch_size"] for changes in kept.trials] == [4, 64]


@pytest.mark.parametrize("method", ["tpe", "pbt"])
def test_batches_of_which_none_fits_are_told_before_anything_runs(
    method: str, tiny_config: RunConfig, tiny_cache: Path
):
    with pytest.raises(ConfigError) as caught:
        plan(tiny_config, tiny_cache, "batch_size=500,600", method=method)
    told = "batch_size: expected at most the 15 training samples, found"
    assert sorted(caught.value.errors) == [f"{told} 500", f"{told} 600"]
    # The configuration's own is not used where it is searched; those that do not fit are left out of it.
    config = override(tiny_config, {"batch_size": 500})
    assert plan(config, tiny_cache, "batch_size=5,600", method=method).fits({"batch_size": 5})


def test_part_of_a_grid_is_spread_over_it(tiny_config: RunConfig, tiny_cache: Path):
    words = ("binning.timesteps=2,4,8", "neuron.tau=1.5,2,3,4", "neuron.name=lif,clif")
    whole = plan(tiny_config, tiny_cache, *words, method="grid")
    part = plan(tiny_config, tiny_cache, *words, method="grid", samples=8)
    assert len(part.trials) == 8 and all(changes in whole.trials for changes in part.trials)
    assert {changes["binning.timesteps"] for changes in part.trials} == {2, 4, 8}
    assert part == plan(tiny_config, tiny_cache, *words, method="grid", samples=8)


def test_missing_event_store_names_the_command_that_makes_it(tiny_config: RunConfig, tmp_path: Path):
    with pytest.raises(CacheError, match="Make it: spikeloom preprocess"):
        plan(tiny_config, tmp_path, "neuron.tau=2,3")


def test_folder_of_another_search_or_of_something_else_is_refused(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    search = plan(tiny_config, tiny_cache, "neuron.tau=2,3")
    with pytest.raises(RunError, match=r"full: expected an empty folder or a search, found other files"):
        run_search(search, tmp_path / "full")
    (tmp_path / "other").mkdir()
    plan(tiny_config, tiny_cache, "neuron.tau=2,4").write(tmp_path / "other")
    with pytest.raises(RunError, match=r"found another one\. Resume that one: spikeloom tune --resume"):
        run_search(search, tmp_path / "other")


def test_live_table_shows_what_runs_and_the_best_of_the_rest(tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path):
    search = plan(tiny_config, tiny_cache, "neuron.tau=1.5,2,3")
    view = LiveTable(Ledger(tmp_path), search.configs(), search.fields)
    first, second, third = view.rows
    view.started(first)
    view.reported(first, {"epoch": 2, "validation_accuracy": 0.75})
    view.rows[second] |= {"status": "done", "validation_accuracy": 0.5, "epochs": 3, "seconds": 7.0}
    screen = io.StringIO()
    Console(file=screen, width=120).print(view._table())
    lines = screen.getvalue().splitlines()
    assert lines[0].strip().startswith("3 trials: 1 running, 1 done, 1 waiting; 56 % of the compute")
    assert "test %" not in lines[2]
    (running,) = (line for line in lines if first in line)
    assert "running" in running and "2/3" in running and "75.0" in running
    (done,) = (line for line in lines if second in line)
    assert "50.0" in done and "3/3" in done
    assert third not in screen.getvalue()


def test_lines_say_how_each_trial_ended(tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, capsys):
    from tune.trials.progress_view import TrialView

    search = plan(tiny_config, tiny_cache, "neuron.tau=1.5,2")
    view = TrialView(Ledger(tmp_path), search.configs(), search.fields)
    record: dict[str, Any] = {"status": "done", "epochs": 3, "seconds": 2.0, "error": None, "firing_rate": 0.1}
    record |= {"validation_accuracy": 0.875, "test_accuracy": None}
    (first, tau), (second, other) = [(row["trial"], row["neuron.tau"]) for row in view.rows.values()]
    view.ended(first, record)
    view.ended(second, record | {"status": "failed", "error": "the disk is full"})
    assert capsys.readouterr().err.splitlines() == [
        f"spikeloom: trial 1/2 tau={tau:g}: done after 3 of 3 epochs in 2.0 s, validation 87.5 %",
        f"spikeloom: trial 2/2 tau={other:g}: failed: the disk is full",
    ]


def test_search_json_is_written_before_the_first_trial(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, monkeypatch
):
    import tune.trials.run_trials

    def stop(*_: object, **__: object) -> None:
        assert read_search(tmp_path / "out") == search
        raise KeyboardInterrupt

    monkeypatch.setattr(tune.trials.run_trials, "ray_running", stop)
    search = plan(tiny_config, tiny_cache, "neuron.tau=1.5,2")
    with pytest.raises(KeyboardInterrupt):
        run_search(search, tmp_path / "out")
    assert (tmp_path / "out" / FILE).exists()
    assert [row["status"] for row in read_results(tmp_path / "out")] == ["waiting", "waiting"]
