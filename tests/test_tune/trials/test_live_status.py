"""What a running search tells of itself, and what becomes of it when its driver stops writing."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from ledger_rows import begin, rows, search_of
from made_up import write_search

from pipeline.config.run_config import RunConfig, fingerprint, override
from pipeline.runs.run_folder import holding
from preprocess.terminal.command_line import run_main
from tune.cli import COMMANDS
from tune.commands.status_view import read_status
from tune.rendering.labels import duration
from tune.trials.ledger import Ledger
from tune.trials.live_status import LiveStatus, read_live_status
from tune.trials.progress_view import LiveTable, TrialView

TRIALS = [override(RunConfig(), {"binning.timesteps": t, "schedule.epochs": 10}) for t in (4, 8, 8)]
TRIALS[2] = override(TRIALS[2], {"neuron.tau": 3.0})


@pytest.fixture
def view(tmp_path: Path) -> TrialView:
    ledger = Ledger(tmp_path)
    begin(ledger, TRIALS[0], rows(*[0.5] * 10))
    ledger.end(TRIALS[0], "done")
    return TrialView(ledger, TRIALS, ["binning.timesteps", "neuron.tau"], expected=4)


def test_budget_counts_time_steps_and_trials_that_are_not_asked_for_yet(view: TrialView):
    # 40 of the first, 80 each of the others; a fourth is taken for their mean, 67.
    assert view.budget() == (40, 267)
    assert view.left() is None
    assert view.counts() == {"done": 1, "waiting": 3}
    view.started(fingerprint(TRIALS[1]))
    view.reported(fingerprint(TRIALS[1]), {"epoch": 5, "validation_accuracy": 0.7, "hostname": "n1"})
    assert view.budget() == (80, 267)
    left = view.left()
    assert left is not None and left == pytest.approx(view.elapsed() * (267 - 80) / 40, rel=0.1)


def test_pruned_trials_need_no_more_than_they_took(view: TrialView):
    view.ended(
        fingerprint(TRIALS[2]),
        {"status": "pruned", "epochs": 2, "validation_accuracy": 0.1, "test_accuracy": None, "seconds": 1.0},
    )
    done, whole = view.budget()
    assert done == 40 + 16 and whole == 40 + 80 + 16 + round((40 + 80 + 16) / 3)


def test_file_tells_what_runs_and_how_long_it_will_take(view: TrialView, tmp_path: Path):
    status = LiveStatus(tmp_path, view)
    status.update()
    view.started(fingerprint(TRIALS[1]))
    view.reported(fingerprint(TRIALS[1]), {"epoch": 3, "validation_accuracy": 0.7, "hostname": "n1"})
    status.update()
    found = read_live_status(tmp_path)
    assert found is not None and found["running"] == []
    status.update(now=True)
    found = read_live_status(tmp_path)
    assert found is not None
    (running,) = found["running"]
    assert running["values"] == {"binning.timesteps": 8, "neuron.tau": 2.0}
    assert (running["epoch"], running["epochs"], running["validation_accuracy"], running["node"]) == (3, 10, 0.7, "n1")
    assert found["left_s"] is not None and found["steps"] == {"done": 64, "all": 267}
    assert 0 <= found["age_s"] < 60


def test_file_counts_samples_names_the_best_and_says_when_it_ended(view: TrialView, tmp_path: Path):
    status = LiveStatus(tmp_path, view, train_samples=90)
    view.started(fingerprint(TRIALS[1]))
    status.update()
    found = read_live_status(tmp_path)
    assert found is not None and (found["state"], len(found["running"])) == ("running", 1)
    # 90 samples train.
    assert found["samples_x_t"] == {"done": 90 * 40, "all": 90 * 267}
    assert found["best"]["trial"] == fingerprint(TRIALS[0]) and found["best"]["validation_accuracy"] == 0.5
    assert found["best"]["values"] == {"binning.timesteps": 4, "neuron.tau": 2.0}
    status.close()
    found = read_live_status(tmp_path)
    assert found is not None and (found["state"], found["running"], found["left_s"]) == ("ended", [], None)


def test_status_tells_apart_what_runs_and_what_waits_to_go_on(tmp_path: Path):
    """Of two trials that began one was taken up again; a third runs on a machine that sent no file yet."""
    search, ledger = search_of(tmp_path, (1.5, 2.0, 3.0, 4.0)), Ledger(tmp_path)
    search.write(tmp_path)
    one, other, remote, waiting = search.configs()
    begin(ledger, one, rows(0.3))
    begin(ledger, other, rows(0.4))
    view = TrialView(ledger, search.configs(), ["neuron.tau"])
    for config, machine in ((one, "n1"), (remote, "n2")):
        view.started(fingerprint(config))
        view.reported(fingerprint(config), {"epoch": 2, "validation_accuracy": 0.7, "hostname": machine})
    LiveStatus(tmp_path, view).update()
    with holding(tmp_path):
        status = read_status(tmp_path)
    assert [row["status"] for row in status.rows] == ["running", "interrupted", "running", "waiting"]
    assert [(row["epochs"], row["validation_accuracy"]) for row in status.rows[::2]] == [(2, 0.7), (2, 0.7)]
    assert status.table().columns[-1] == "machine"
    assert {cells[-1] for cells in status.table().rows} == {"n1", "n2", ""}
    # Without its driver nothing runs, whatever was written last.
    assert [row["status"] for row in read_status(tmp_path).rows] == ["interrupted", "interrupted", "waiting", "waiting"]
    assert fingerprint(waiting) not in {cells[0] for cells in status.table().rows}


def test_live_table_tells_budget_and_machines(view: TrialView, tmp_path: Path):
    table = LiveTable(Ledger(tmp_path), TRIALS, ["binning.timesteps", "neuron.tau"])
    for trial, machine in zip(TRIALS[1:], ("n1", "n2"), strict=True):
        table.started(fingerprint(trial))
        assert "machine" not in [str(column.header) for column in table._table().columns]
        table.reported(fingerprint(trial), {"epoch": 5, "validation_accuracy": 0.7, "hostname": machine})
    drawn = table._table()
    # 40 + 40 + 40 of 40 + 80 + 80.
    assert "; 60 % of the compute; about " in str(drawn.title)
    assert str(drawn.columns[-1].header) == "machine" and list(drawn.columns[-1].cells) == ["n1", "n2", ""]


def test_watching_ends_with_the_driver(tmp_path: Path, capsys, monkeypatch):
    write_search(tmp_path)
    lock = holding(tmp_path)
    lock.__enter__()
    # The driver leaves while the watcher waits.
    monkeypatch.setattr("tune.commands.status.time.sleep", lambda _: lock.__exit__(None, None, None))
    assert run_main(COMMANDS, prog="", description="", argv=["status", str(tmp_path), "--watch"]) == 0
    assert capsys.readouterr().out.count("8 trials: ") == 2


def test_ctrl_c_ends_watching_with_130(tmp_path: Path, monkeypatch):
    write_search(tmp_path)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tune.commands.status.time.sleep", interrupt)
    with holding(tmp_path):
        assert run_main(COMMANDS, prog="", description="", argv=["status", str(tmp_path), "--watch"]) == 130


def test_damaged_file_is_no_status(tmp_path: Path):
    assert read_live_status(tmp_path) is None
    (tmp_path / "status.json").write_text("{")
    assert read_live_status(tmp_path) is None


def test_silent_driver_is_named(tmp_path: Path):
    from filelock import FileLock

    write_search(tmp_path)
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=300)
    live = {"updated": before.isoformat(), "host": "laptop", "process": 17, "running": [], "left_s": 10.0}
    (tmp_path / "status.json").write_text(json.dumps(live | {"steps": {"done": 5, "all": 10}}))
    with FileLock(tmp_path / ".lock"):
        lines = read_status(tmp_path).lines()
    assert any(line.startswith("Process 17 on laptop has written nothing for 5 min") for line in lines)
    # One that has ended is not silent.
    assert not any("has written nothing" in line for line in read_status(tmp_path).lines())


def test_status_is_one_json_object(tmp_path: Path, capsys):
    write_search(tmp_path)
    assert run_main(COMMANDS, prog="", description="", argv=["status", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["alive"], len(found["trials"])) == ("search", False, 8)


def test_durations_are_for_people():
    assert [duration(seconds) for seconds in (7.2, 125, 7500)] == ["7 s", "2 min 05 s", "2 h 05 min"]
