"""A run whose own neuron or network file changed since training: refused with both hashes, or accepted knowingly."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.cli import COMMANDS
from pipeline.config.custom_classes import outside_sources
from pipeline.config.imported_files import imported_files
from pipeline.config.run_config import RunConfig, override
from pipeline.data.run_data import open_data
from pipeline.evaluation.finished_run import load_selected
from pipeline.runs.changed_code import code_changes
from pipeline.runs.run_folder import Run, open_run
from pipeline.training.train_run import train_run
from preprocess.errors import RunError
from preprocess.files import read_json, write_json
from preprocess.terminal.command_line import run_main

NEURON = """
from spikingjelly.activation_based.neuron import LIFNode
class Mine(LIFNode):
    def __init__(self, tau):
        super().__init__(tau, v_threshold=THRESHOLD, step_mode="m")
"""
CPU = torch.device("cpu")


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[str(word) for word in words])


def set_threshold(path: Path, threshold: float) -> None:
    path.write_text(NEURON.replace("THRESHOLD", str(threshold)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("changed"))


def config_of(path: Path) -> RunConfig:
    return override(TINY, {"neuron.name": f"{path}:Mine", "schedule.epochs": 2, "schedule.stop_epoch": 1})


@pytest.fixture
def changed(cache: Path, tmp_path: Path) -> tuple[Path, str, str]:
    """A finished run of one epoch whose file changed since; the hash that it was trained with, and the one found."""
    file = tmp_path / "mine.py"
    set_threshold(file, 1.0)
    train_run(config_of(file), tmp_path / "run", cache)
    before = sha(file)
    set_threshold(file, 0.3)
    return tmp_path / "run", before, sha(file)


def test_evaluate_refuses_it_and_names_both_hashes_in_one_line(changed: tuple[Path, str, str], cache: Path, capsys):
    folder, before, now = changed
    assert run("evaluate", folder, "--cache", cache) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert before[:12] in line and now[:12] in line and "mine.py" in line and "--accept-changed-code" in line
    assert not (folder / "evaluation.json").exists()


def test_evaluate_goes_on_knowingly_says_so_and_records_it(changed: tuple[Path, str, str], cache: Path, capsys):
    folder, before, now = changed
    record = [{"file": str(folder.parent / "mine.py"), "trained": before, "found": now}]
    assert run("evaluate", folder, "--cache", cache, "--accept-changed-code") == 0
    out = capsys.readouterr().out
    assert f"mine.py ({before[:12]} to {now[:12]})" in "".join(out.splitlines())
    assert json.loads((folder / "evaluation.json").read_text())["accepted_changed_code"] == record
    assert run("evaluate", folder, "--cache", cache, "--accept-changed-code", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accepted_changed_code"] == record


def test_the_library_refuses_to_load_it(changed: tuple[Path, str, str], cache: Path):
    folder, before, now = changed
    data = open_data(TINY, cache)
    with pytest.raises(RunError, match=f"{now[:12]}, expected {before[:12]}"):
        load_selected(open_run(folder), data, CPU)
    network, _ = load_selected(open_run(folder, accept_changed_code=True), data, CPU)
    assert {node.v_threshold for node in network.modules() if hasattr(node, "v_threshold")} == {0.3}


def test_a_resumed_run_refuses_it_or_records_it_in_environment_and_result(
    changed: tuple[Path, str, str], cache: Path, capsys
):
    folder, before, now = changed
    (folder / "result.json").unlink()
    assert run("train", "--resume", folder, "--cache", cache) == 2
    assert f"{now[:12]}, expected {before[:12]}" in capsys.readouterr().err
    assert not (folder / "result.json").exists()
    assert run("train", "--resume", folder, "--cache", cache, "--accept-changed-code", "--json") == 0
    record = [{"file": str(folder.parent / "mine.py"), "trained": before, "found": now}]
    assert json.loads(capsys.readouterr().out)["accepted_changed_code"] == record
    for name in ("environment.json", "result.json"):
        assert json.loads((folder / name).read_text())["accepted_changed_code"] == record
    # From here the new file is what the run was trained with; that there was another stays on record.
    assert run("evaluate", folder, "--cache", cache, "--json") == 0
    assert json.loads(capsys.readouterr().out)["accepted_changed_code"] == record


def test_a_finished_run_is_not_given_as_the_result_of_changed_code(changed: tuple[Path, str, str], cache: Path):
    folder, _, now = changed
    with pytest.raises(RunError, match=now[:12]):
        train_run(open_run(folder).config, folder, cache)


def test_a_run_that_starts_from_another_refuses_it(changed: tuple[Path, str, str], cache: Path, tmp_path: Path):
    folder, _, now = changed
    more = override(open_run(folder).config, {"start_from": str(folder), "schedule.stop_epoch": None})
    with pytest.raises(RunError, match=now[:12]):
        train_run(more, tmp_path / "more", cache)
    assert not (tmp_path / "more").exists()
    result = train_run(more, tmp_path / "more", cache, accept_changed_code=True)
    assert [record["found"] for record in result["accepted_changed_code"]] == [now]


def test_a_run_of_an_earlier_version_without_hashes_opens_as_before(changed: tuple[Path, str, str], cache: Path):
    folder, _, _ = changed
    environment = read_json(folder / "environment.json")
    assert environment is not None
    del environment["outside"]
    write_json(folder / "environment.json", environment)
    assert code_changes(open_run(folder)) == []
    assert run("evaluate", folder, "--cache", cache) == 0


def test_a_file_that_the_class_imports_counts_and_an_earlier_record_without_imports_is_checked_by_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "sibling_of_mine.py").write_text("import deeper_of_mine\nTHRESHOLD = 1.0\n")
    (tmp_path / "deeper_of_mine.py").write_text("x = 1\n")
    file = tmp_path / "mine.py"
    file.write_text("import numpy, json\nfrom sibling_of_mine import THRESHOLD\n" + NEURON)
    environment = {"outside": outside_sources(config_of(file))}
    there = Run(tmp_path, config_of(file), [], [], None, environment)
    assert code_changes(there) == []
    (tmp_path / "deeper_of_mine.py").write_text("x = 2\n")
    (change,) = code_changes(there)
    assert change.file == str(tmp_path / "deeper_of_mine.py") and change.found == sha(Path(change.file))
    del environment["outside"]["neuron.name"]["imports"]
    assert code_changes(there) == []


def test_imports_are_followed_through_packages_and_functions_but_not_into_installed_ones(tmp_path: Path):
    (tmp_path / "own" / "deep").mkdir(parents=True)
    for name, text in {
        "own/__init__.py": "",
        "own/base.py": "from .deep import leaf",
        "own/deep/__init__.py": "",
        "own/deep/leaf.py": "from ..cycle import x",
        "own/cycle.py": "from . import base",
        "own/unused.py": "",
        "lazy.py": "",
        "mine.py": "import os, torch, pipeline.config.run_config\nfrom own import base\ndef f():\n    import lazy\n",
    }.items():
        (tmp_path / name).write_text(text)
    found = [os.path.relpath(path, tmp_path) for path in imported_files(tmp_path / "mine.py")]
    deep = ["own/deep/__init__.py", "own/deep/leaf.py"]
    assert found == ["lazy.py", "own/__init__.py", "own/base.py", "own/cycle.py", *deep]
