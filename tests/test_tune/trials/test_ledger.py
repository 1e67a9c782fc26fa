"""The ledger: what became of each trial, whole or absent, found by what the trial computes."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from ledger_rows import begin, rows

from pipeline.config.run_config import RunConfig, fingerprint, override
from pipeline.runs.best_epoch import select_epoch
from pipeline.runs.checkpoint import Best
from pipeline.runs.result_json import COST_COLUMNS
from preprocess.errors import RunError
from preprocess.files import write_json, write_lines
from tune.trials.ledger import Ledger
from tune.trials.results_tables import collect_results

CONFIG = RunConfig()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def test_trial_is_found_by_what_it_computes_wherever_it_runs(ledger: Ledger):
    there = override(CONFIG, {"device": "cpu", "threads": 1})
    other = override(CONFIG, {"neuron.tau": 3.0})
    assert ledger.trial_folder(CONFIG) == ledger.folder / "trials" / fingerprint(CONFIG)
    assert ledger.trial_folder(CONFIG) == ledger.trial_folder(there) != ledger.trial_folder(other)


def test_states_follow_a_trial_from_waiting_to_its_end(ledger: Ledger):
    assert (ledger.state(CONFIG), ledger.read_done(CONFIG)) == ("waiting", None)
    begin(ledger, CONFIG, rows(0.5))
    assert (ledger.state(CONFIG), ledger.read_done(CONFIG)) == ("started", None)
    ledger.end(CONFIG, "failed", "the disk is full")
    assert ledger.state(CONFIG) == "failed"
    assert ledger.unfinished([CONFIG]) == [CONFIG]
    ledger.reopen(CONFIG)
    assert ledger.state(CONFIG) == "started"
    ledger.end(CONFIG, "done")
    assert ledger.state(CONFIG) == "done"
    assert ledger.unfinished([CONFIG]) == []


def test_record_of_a_pruned_trial_is_its_best_epoch_and_that_of_a_done_one_its_result(ledger: Ledger):
    folder = begin(ledger, CONFIG, rows(0.2, 0.6, 0.4))
    expected = {
        "trial": fingerprint(CONFIG),
        "status": "pruned",
        "epochs": 3,
        "validation_accuracy": 0.6,
        "test_accuracy": None,
        "firing_rate": 0.1,
        **dict.fromkeys(COST_COLUMNS),
        "seconds": 4.5,
        "own_epochs": 3,
        "memory_mb": None,
        "micro_batch": None,
        "error": None,
    }
    record = ledger.end(CONFIG, "pruned")
    assert record == ledger.read_done(CONFIG)
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(record.pop("ended"))
    assert record == expected and 0 <= age.total_seconds() < 60
    found = {"validation_accuracy": 0.6, "test_accuracy": 0.7, "firing_rate": 0.3, "sparse_energy_uj": 12.5}
    write_json(folder / "result.json", found)
    done = ledger.end(CONFIG, "done")
    assert done["status"] == "done" and {name: done[name] for name in found} == found


def test_record_keeps_the_most_memory_and_a_smaller_piece_than_was_asked_for(ledger: Ledger):
    folder = begin(ledger, CONFIG, rows(0.2, 0.6, 0.4))
    peaks = [{"epoch": k + 1, "epoch_s": 1.0, "peak_memory_mb": peak} for k, peak in enumerate((100.0, 300.5, None))]
    write_lines(folder / "timings.jsonl", peaks)
    write_json(folder / "environment.json", {"micro_batch": CONFIG.batch_size // 4})
    record = ledger.end(CONFIG, "done")
    assert (record["memory_mb"], record["micro_batch"]) == (300.5, CONFIG.batch_size // 4)
    write_json(folder / "environment.json", {"micro_batch": CONFIG.batch_size})
    assert ledger.end(CONFIG, "done")["micro_batch"] is None


def test_trial_that_was_once_trained_in_pieces_stays_marked(ledger: Ledger):
    folder = begin(ledger, CONFIG, rows(0.2))
    earlier = [{"micro_batch": CONFIG.batch_size // 2}, {"micro_batch": CONFIG.batch_size // 4}, {}]
    write_json(folder / "environment.json", {"micro_batch": CONFIG.batch_size, "earlier": earlier})
    assert ledger.end(CONFIG, "done")["micro_batch"] == CONFIG.batch_size // 4


def test_record_of_an_earlier_version_is_read(ledger: Ledger):
    ledger.write_done(CONFIG, {"trial": fingerprint(CONFIG), "status": "done", "epochs": 3, "seconds": 1.0})
    (row,) = collect_results(ledger.folder, [CONFIG], [])
    assert (row["status"], row["epochs"], row["energy_uj"]) == ("done", 3, None)


def test_selected_epoch_is_the_most_accurate_then_the_one_of_least_loss_then_the_first():
    assert select_epoch([]) is None
    assert select_epoch(rows(0.2, 0.6, 0.4))["epoch"] == 2  # type: ignore[index]
    tied = rows(0.6, 0.6, 0.4)
    assert select_epoch(tied)["epoch"] == 2  # type: ignore[index]
    for row in tied:
        row["validation_loss"] = 1.0
    assert select_epoch(tied)["epoch"] == 1  # type: ignore[index]
    assert select_epoch(rows(None, None))["epoch"] == 2  # type: ignore[index]


def test_training_selects_the_epoch_that_the_tables_select():
    epochs = [(0.5, 1.0), (0.6, 1.0), (0.6, 1.0), (0.6, 0.9), (0.6, 0.9), (0.5, 0.1)]
    rows_of = [
        {"epoch": k + 1, "validation_accuracy": accuracy, "validation_loss": loss}
        for k, (accuracy, loss) in enumerate(epochs)
    ]
    best = Best()
    for k, epoch in enumerate(epochs):
        if best.is_beaten_by(*epoch):
            best = Best(k + 1, *epoch)
        selected = select_epoch(rows_of[: k + 1])
        assert selected is not None and best.epoch == selected["epoch"]
    assert best.epoch == 4


def test_record_that_cannot_be_written_leaves_the_old_one_and_no_debris(ledger: Ledger, monkeypatch):
    folder = begin(ledger, CONFIG, rows(0.5))
    ledger.end(CONFIG, "failed", "first")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunError, match=r"done\.json: cannot be written \(No space left on device\)"):
        ledger.end(CONFIG, "done")
    assert json.loads((folder / "done.json").read_text())["error"] == "first"
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read"),
        ('{"status": "ok"}', r".*status: expected done, pruned, failed, found 'ok'\). Delete it"),
    ],
)
def test_damaged_record_is_named(ledger: Ledger, text: str, told: str):
    folder = begin(ledger, CONFIG, rows(0.5))
    (folder / "done.json").write_text(text)
    with pytest.raises(RunError, match=f"done.json: {told}"):
        ledger.is_final(CONFIG)


def test_trials_that_rest_on_other_data_never_meet(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.bind({"data set a": "1" * 32})
    ledger.bind({"data set a": "1" * 32, "the file my.py": "2" * 64})
    with pytest.raises(
        RunError,
        match=r"expected the file my.py 2+, .* found 3+: it has changed since. Choose another --out",
    ):
        ledger.bind({"data set a": "1" * 32, "the file my.py": "3" * 64})
