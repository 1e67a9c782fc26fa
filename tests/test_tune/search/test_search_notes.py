"""What pipeline and tune leave out, skip, reuse or assume is counted and said; here is the list of the places.

Each place names the test that shows what is said of it, in tables and, where a command has it, in --json.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import COMMANDS
from pipeline.commands.config_arguments import inactive_notes
from pipeline.commands.tables import print_steps
from pipeline.config.run_config import RunConfig, override, to_dict
from pipeline.runs.run_folder import Run, open_run
from pipeline.training.train_run import train_run
from preprocess.terminal.command_line import run_main
from tune.report.frame_strips import read_strips
from tune.search.options import SearchOptions
from tune.search.search_findings import read_findings
from tune.search.search_plan import Search, plan_search
from tune.search.start_notes import search_notes
from tune.trials.ledger import Ledger

TESTS = Path(__file__).parents[2]
PLACES = {
    "the last batch of an epoch, where it is not full": "test_training_says_what_fills_no_batch",
    "gradients accumulated because memory is full": "test_accumulated_gradients_are_said_with_their_cause",
    "a finished run that is trained again": "test_a_finished_run_is_said_to_be_reused",
    "fields that have no effect": "test_fields_without_effect_are_named",
    "damaged runs in a list of runs": "test_damaged_runs_are_left_out_of_the_list_by_name",
    "rows of a long table of time steps": "test_a_shortened_table_says_so",
    "a dry run's step": "test_a_dry_run_skips_the_step_that_memory_does_not_hold",
    "made-up frames": "test_the_dry_run_of_a_preset_says_that_frames_are_made_up",
    "changed code, run": "test_evaluate_goes_on_knowingly_says_so_and_records_it",
    "changed code, search": "test_a_resumed_search_refuses_it_and_goes_on_knowingly",
    "trials that are finished already": "test_a_search_says_what_it_reuses_and_runs_again",
    "fewer configurations than asked for": "test_a_small_space_is_said_to_be_run_in_full",
    "combinations that are not valid": "test_combinations_that_are_not_valid_are_counted_with_a_reason",
    "pruned trials": "test_poor_trials_are_pruned_and_have_no_rank",
    "failed trials": "test_search_goes_on_when_trials_fail_or_die",
    "trials in pieces of a batch": "test_trials_in_pieces_of_a_batch_are_counted",
    "runs missing from a comparison": "test_missing_seeds_are_shown_and_in_no_mean",
    "runs that failed": "test_a_run_that_failed_otherwise_is_missing_and_in_no_mean",
    "runs that diverged": "test_a_run_that_diverged_counts_as_chance_and_is_counted",
    "classes without a strip": "test_a_report_of_many_classes_says_how_many_are_shown",
}


def test_every_place_has_its_test():
    files = TESTS.rglob("test_*.py")
    found = {
        part.name for path in files for part in ast.parse(path.read_text()).body if isinstance(part, ast.FunctionDef)
    }
    assert {place for place, test in PLACES.items() if test not in found} == set()


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[str(word) for word in words])


@pytest.fixture(scope="module")
def config(tiny_config: RunConfig) -> RunConfig:
    return override(tiny_config, {"schedule.epochs": 1, "batch_size": 7})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, config: RunConfig, tiny_cache: Path) -> Path:
    """A run of one epoch whose batches of seven do not divide its training samples, in pieces of two."""
    folder = tmp_path_factory.mktemp("silent") / "run"
    train_run(config, folder, tiny_cache, micro_batch=2)
    return folder


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join("".join(c if c not in "│┃╭╮╰╯─" else " " for c in capsys.readouterr().out).split())


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_training_says_what_fills_no_batch(trained: Path, config: RunConfig, capsys):
    result = result_of(trained)
    assert result["left_out_per_epoch"] == result["train_samples"] % config.batch_size == 1
    assert run("train", "--resume", trained) == 0
    assert f"{result['train_samples']} (each epoch drops 1, which do not fill a batch)" in said(capsys)


def test_accumulated_gradients_are_said_with_their_cause(trained: Path, capsys):
    assert result_of(trained)["micro_batch"] == 2
    assert run("train", "--resume", trained) == 0
    text = said(capsys)
    accumulated = "gradients accumulated over micro-batches of 2 to batches of 7"
    assert f"{accumulated}, because a full batch did not fit in memory" in text


def test_a_finished_run_is_said_to_be_reused(trained: Path, capsys):
    assert run("train", "--resume", trained, "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["reused"] is True
    assert "already finished; its result is reused and nothing is trained" in printed.err


def test_fields_without_effect_are_named(config: RunConfig, tmp_path: Path, tiny_cache: Path, capsys):
    (tmp_path / "c.json").write_text(json.dumps(to_dict(config)))
    words = ("--config", tmp_path / "c.json", "--cache", tiny_cache, "--dry-run")
    assert run("train", *words, "--neuron.name", "if", "--neuron.tau", "3") == 0
    assert "neuron.tau: has no effect with neuron.name if" in capsys.readouterr().err
    assert inactive_notes(["--neuron.tau", "3"], config) == []
    whole = override(config, {"neuron.name": "clif", "binning.timesteps": 4, "neuron.temporal_window": 3})
    expected = ["neuron.temporal_window: 3 has no effect with binning.timesteps 4"]
    assert inactive_notes(["--neuron.temporal-window", "3"], whole) == expected and inactive_notes([], whole) == []
    part = override(whole, {"binning.timesteps": 5})
    assert inactive_notes(["--neuron.temporal-window=3"], part) == []


def test_damaged_runs_are_left_out_of_the_list_by_name(trained: Path, capsys):
    damaged = trained.parent / "damaged"
    damaged.mkdir()
    (damaged / "environment.json").write_text("{}")
    (damaged / "config.json").write_text("{")
    assert run("runs", trained.parent, "--json") == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    (message,) = found["left_out"]
    assert len(found["runs"]) == 1 and str(damaged) in message and message in printed.err


def test_a_shortened_table_says_so(config: RunConfig, capsys):
    result = {"latency_curve": [k / 40 for k in range(40)], "test_samples": 40, "timesteps": 40}
    print_steps(result, Run(Path(), config, [], [], None, {}))  # type: ignore[arg-type]
    assert "12 of 40 rows, all in evaluation.json" in said(capsys)


def plan(config: RunConfig, cache: Path, *space: str, **words: Any) -> Search:
    return plan_search("tiny", config, SearchOptions(space, scheduler="none", **words), cache)


def test_a_search_says_what_it_reuses_and_runs_again(config: RunConfig, tiny_cache: Path, tmp_path: Path):
    search = plan(config, tiny_cache, "neuron.tau=1.5,2,3,4", samples=4)
    assert list(search_notes(search, tmp_path)) == []
    for trial, status in zip(search.configs(), ("done", "pruned", "failed"), strict=False):
        Ledger(tmp_path).write_done(trial, {"status": status})
    (line,) = search_notes(search, tmp_path)
    assert line == "2 finished trials are reused; 1 failed trials will be run again"


def test_a_small_space_is_said_to_be_run_in_full(config: RunConfig, tiny_cache: Path, tmp_path: Path):
    (line,) = search_notes(plan(config, tiny_cache, "neuron.tau=1.5,2", samples=24), tmp_path)
    assert line == "the space has 2 valid configurations, fewer than the 24 samples: all of them are run"


def test_combinations_that_are_not_valid_are_counted_with_a_reason(config: RunConfig, tiny_cache: Path, tmp_path: Path):
    search = plan(config, tiny_cache, "binning.timesteps=2,4", "grad_steps=1,3", method="grid")
    (line,) = search_notes(search, tmp_path)
    assert line.startswith(
        "1 combinations of the space are not valid and are left out; the first: grad_steps: expected"
    )


def test_trials_in_pieces_of_a_batch_are_counted(config: RunConfig, tiny_cache: Path, tmp_path: Path):
    search = plan(config, tiny_cache, "neuron.tau=1.5,2", samples=2)
    for trial, held in zip(search.configs(), (2, None), strict=True):
        measured = {"validation_accuracy": 0.5, "firing_rate": 0.1, "energy_uj": 1.0, "epochs": 1, "seconds": 1.0}
        Ledger(tmp_path).write_done(trial, {"status": "done", "micro_batch": held, **measured})
    sentences = read_findings(search, tmp_path).sentences()
    assert "1 trial did not fit in memory and used gradient accumulation." in sentences


def test_the_table_of_trials_has_no_value_where_a_field_has_no_effect(
    config: RunConfig, tiny_cache: Path, tmp_path: Path
):
    search = plan(config, tiny_cache, "neuron.name=lif,lm-h", samples=2)
    for trial in search.configs():
        measured = {"validation_accuracy": 0.5, "firing_rate": 0.1, "energy_uj": 1.0, "epochs": 1, "seconds": 1.0}
        Ledger(tmp_path).write_done(trial, {"status": "done", "micro_batch": None, **measured})
    table = read_findings(search, tmp_path).table()
    place = table.columns.index("tau")
    assert {row[place + 1]: row[place] for row in table.rows} == {"lif": "2", "lm-h": "–"}


def test_a_report_of_many_classes_says_how_many_are_shown(trained: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tune.report.frame_strips._MOST_STRIPS", 2)
    strips, note = read_strips({"LIF": open_run(trained)})
    assert len(strips) == 2 and "(the first 2 of 3 classes)" in note
