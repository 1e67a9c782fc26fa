"""Searches, comparisons and reports whose own neuron or network file changed since their trials."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.config.custom_classes import outside_sources
from pipeline.config.run_config import RunConfig, override, to_dict
from pipeline.runs.changed_code import KEY
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess.errors import ConfigError, RunError
from preprocess.files import write_json
from preprocess.terminal.command_line import run_main
from tune.cli import COMMANDS
from tune.comparison.comparison_plan import compare_neurons
from tune.report import read_report
from tune.search.options import SearchOptions
from tune.search.run_search import run_search
from tune.search.search_plan import plan_search
from tune.trials.custom_code import check_folder_code
from tune.trials.ledger import Ledger

NEURON = """
from spikingjelly.activation_based.neuron import LIFNode
class Mine(LIFNode):
    def __init__(self, tau):
        super().__init__(tau, v_threshold=THRESHOLD, step_mode="m")
"""


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[str(word) for word in words])


def set_threshold(path: Path, threshold: float) -> str:
    """Its SHA-256, as errors show it."""
    path.write_text(NEURON.replace("THRESHOLD", str(threshold)))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@pytest.mark.long
@pytest.mark.ray
def test_a_resumed_search_refuses_it_and_goes_on_knowingly(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, shared_ray: None, capsys
):
    file, folder = tmp_path / "mine.py", tmp_path / "out"
    before = set_threshold(file, 1.0)
    config = override(tiny_config, {"schedule.epochs": 1})
    words = SearchOptions((f"neuron.name={file}:Mine",), "grid", scheduler="none", final_seeds=1)
    run_search(plan_search("own", config, words, tiny_cache), folder)
    now = set_threshold(file, 0.3)
    capsys.readouterr()
    assert run("tune", "--resume", folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{now}, expected {before}" in line and "--accept-changed-code" in line
    assert run("tune", "--resume", folder, "--accept-changed-code", "--concurrent", 1) == 0
    said = "".join(capsys.readouterr().out.splitlines())
    assert f"mine.py ({before} to {now})" in said
    (record,) = json.loads((folder / "basis.json").read_text())[KEY]
    assert record["file"] == str(file) and record["trained"].startswith(before) and record["found"].startswith(now)
    # What was accepted needs no second word, and the page shows it.
    check_folder_code(folder, accept=False)
    assert any(now in sentence for sentence in read_report(folder).sections[0].sentences)
    # The next change is another one.
    third = set_threshold(file, 0.7)
    with pytest.raises(RunError, match=f"{third}, expected {now}"):
        check_folder_code(folder, accept=False)


def test_a_comparison_refuses_it_before_it_starts_and_lists_what_was_accepted(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, capsys
):
    file, folder = tmp_path / "mine.py", tmp_path / "out"
    before = set_threshold(file, 1.0)
    comparison = compare_neurons("own", tiny_config, ("lif", f"{file}:Mine"), (1,), tiny_cache)
    folder.mkdir()
    comparison.declare(0).write(folder)
    Ledger(folder / "tuning" / "Mine").bind({f"the file {file}": "0" * 64})
    assert run("compare", "--resume", folder) == 2
    assert f"{before}, expected {'0' * 12}" in capsys.readouterr().err
    with pytest.raises(RunError, match=before):
        read_report(folder)
    check_folder_code(folder, accept=True)
    check_folder_code(folder, accept=False)
    assert Ledger(folder / "tuning" / "Mine").accepted()[0]["trained"] == "0" * 64


@pytest.mark.slow
def test_a_report_of_a_run_refuses_it_or_says_so_on_the_page(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, capsys
):
    file = tmp_path / "mine.py"
    before = set_threshold(file, 1.0)
    for name in ("one", "two"):
        changes = {"neuron.name": f"{file}:Mine", "schedule.epochs": 1, "seed": len(name)}
        train_run(override(tiny_config, changes), tmp_path / "runs" / name, tiny_cache)
    other = override(tiny_config, {"schedule.epochs": 1})
    train_run(other, tmp_path / "runs" / "plain", tiny_cache)
    now = set_threshold(file, 0.3)
    assert run("report", tmp_path / "runs" / "one") == 2
    assert f"{now}, expected {before}" in capsys.readouterr().err
    report = read_report(tmp_path / "runs")
    assert len(report.sections) == 1 and len(report.errors) == 2 and all(before in message for message in report.errors)
    assert run("report", tmp_path / "runs" / "one", "--accept-changed-code") == 0
    page = (tmp_path / "runs" / "one" / "report.html").read_text()
    assert f"({before} to {now})" in page and "Spikes are not shown for" in page
    write_json(tmp_path / "runs" / "one" / "config.json", to_dict(open_run(tmp_path / "runs" / "one").config))
    file.unlink()
    assert len(read_report(tmp_path / "runs").sections) == 3


def test_status_and_runs_run_no_code_of_the_folders_that_they_show(
    tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path, capsys
):
    file, mark, runs = tmp_path / "mine.py", tmp_path / "it ran", tmp_path / "runs"
    set_threshold(file, 1.0)
    config = override(tiny_config, {"neuron.name": f"{file}:Mine"})
    (runs / "own").mkdir(parents=True)
    compare_neurons("own", tiny_config, ("lif", f"{file}:Mine"), (1,), tiny_cache).declare(0).write(runs / "own")
    (runs / "one").mkdir()
    write_json(runs / "one" / "config.json", to_dict(config))
    write_json(runs / "one" / "environment.json", {"outside": outside_sources(config)})
    file.write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    for words in (("runs", runs, "--json"), ("status", runs / "own", "--json")):
        assert run(*words) == 0
        assert "mine.py:Mine" in capsys.readouterr().out
    assert not mark.exists()
    with pytest.raises(ConfigError, match="expected a class 'Mine'"):
        outside_sources(config)
    assert mark.exists()
