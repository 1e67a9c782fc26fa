"""status: how a search or comparison stands, from its files alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ledger_rows import begin, rows, search_of
from patience import PATIENCE_S

from pipeline.config.run_config import RunConfig, override
from pipeline.runs.run_folder import holding
from preprocess.terminal.command_line import run_main
from tune.cli import COMMANDS
from tune.comparison.comparison_plan import compare_neurons
from tune.trials.ledger import Ledger


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A search with a trial of every kind."""
    search, ledger = search_of(tmp_path, (1.5, 2.0, 2.5, 3.0, 4.0)), Ledger(tmp_path)
    search.write(tmp_path)
    metrics = (rows(0.5, 0.6, 0.8), rows(0.1, 0.9), rows(), rows(0.3))
    for config, measured in zip(search.configs(), metrics, strict=False):
        begin(ledger, config, measured)
    for config, end in zip(search.configs(), ("done", "pruned", "failed"), strict=False):
        ledger.end(config, end, "the loss is not a number" if end == "failed" else None)  # type: ignore[arg-type]
    return tmp_path


def status(folder: Path) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=["status", str(folder)])


def test_search_that_runs_is_counted_and_a_pruned_trial_is_never_the_best(folder: Path, capsys):
    with holding(folder):
        assert status(folder) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "5 trials: 1 running, 1 failed, 1 done, 1 pruned, 1 waiting; " in out
    assert "Best complete trial so far: 80.0 % validation accuracy, tau=1.5 seed=2022" in out
    assert "(emulated data)" in out
    assert "Nothing is running here" not in out


def test_search_that_was_interrupted_says_how_to_go_on(folder: Path, capsys):
    assert status(folder) == 0
    out = capsys.readouterr().out
    assert "1 interrupted, 1 failed, 1 done, 1 pruned, 1 waiting" in out
    assert f"Nothing is running here. Resume with: spikeloom tune --resume {folder}" in out


def test_comparison_is_shown_too(tmp_path: Path, capsys):
    config = override(RunConfig(), {"schedule.epochs": 2, "selection": "last"})
    comparison = compare_neurons("n-mnist-small", config, ("lif", "clif"), (1, 2), tmp_path)
    comparison.write(tmp_path)
    begin(Ledger(tmp_path), comparison.configs()[0], rows(None, None))
    assert status(tmp_path) == 0
    out = capsys.readouterr().out
    assert "4 trials: 1 interrupted, 3 waiting" in out
    assert f"spikeloom compare --resume {tmp_path}" in out


def test_folder_of_neither_is_one_line(tmp_path: Path, capsys):
    assert status(tmp_path) == 2
    told = f"spikeloom: {tmp_path}: expected a search or comparison (with search.json or comparison.json), found"
    assert capsys.readouterr().err.startswith(told)


def test_damaged_plan_is_one_line(folder: Path, capsys):
    (folder / "search.json").write_text((folder / "search.json").read_text().replace('"trials"', '"tirals"'))
    assert status(folder) == 2
    assert "search.json: damaged (expected trials, found none). Start the search again" in capsys.readouterr().err


def test_status_loads_neither_torch_nor_ray(folder: Path):
    script = (
        f"import sys; from tune.commands.status import run; run([{str(folder)!r}]); "
        "assert not {'torch', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=PATIENCE_S)
