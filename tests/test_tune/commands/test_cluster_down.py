"""spikeloom cluster down on a machine where nothing is left to stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock

from preprocess.terminal.command_line import run_main
from tune.cli import COMMANDS
from tune.cluster import member_record

NOTHING = "Nothing to stop: no process started by spikeloom cluster up is running on this machine.\n"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that records the member of this machine."""
    monkeypatch.setattr(member_record, "state_file", lambda: tmp_path / "member.json")
    return tmp_path / "member.json"


def down() -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=["cluster", "down"])


def test_nothing_to_stop_is_said_and_is_no_error(state: Path, capsys: pytest.CaptureFixture[str]):
    assert down() == 0
    assert capsys.readouterr() == (NOTHING, "")


def test_files_of_a_member_that_was_killed_are_removed(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "ray"
    folder.mkdir()
    # No process has this id: it is above the largest that the kernel gives.
    member = {"role": "head", "address": "127.0.0.1:6390", "process": 2**22 + 1, "began": 0, "folder": str(folder)}
    state.write_text(json.dumps(member))
    assert down() == 0
    assert capsys.readouterr() == (NOTHING, "")
    assert not state.exists() and not folder.exists()


def test_folders_of_trials_that_ended_with_their_machine_are_removed_and_those_of_running_ones_kept(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tune.cluster.trial_storage._trials_here", lambda: tmp_path)
    for name in ("lost", "running"):
        (tmp_path / name / "trials").mkdir(parents=True)
        (tmp_path / f"{name}.lock").touch()
    with FileLock(tmp_path / "running.lock"):
        assert down() == 0
    assert {path.name for path in tmp_path.iterdir()} == {"running", "running.lock"}


@pytest.mark.parametrize("content", ["", "{}", '{"role": "head"'], ids=["empty", "no member", "cut short"])
def test_a_record_that_cannot_be_read_does_not_pass_for_nothing_to_stop(
    state: Path, capsys: pytest.CaptureFixture[str], content: str
):
    state.write_text(content)
    assert down() == 2
    printed = capsys.readouterr()
    assert printed.out == "" and state.exists()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"spikeloom: {state}: expected the record of a cluster process that this user started, ")
