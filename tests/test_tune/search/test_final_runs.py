"""The final evaluation: its status and sentences, also if the time limit was reached before its end."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import make_cache, write_run, write_search

from pipeline.config.run_config import RunConfig
from pipeline.runs.run_folder import holding
from preprocess.errors import RunError
from preprocess.files import write_json
from tune.commands.status_view import read_status
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.final_runs import FOLDER, run_final
from tune.search.search_findings import read_findings
from tune.trials.ledger import Ledger
from tune.trials.live_status import FILE, driver_lives
from tune.trials.trial_job import TrialJob


def test_place_that_has_used_its_time_has_none_left():
    assert ExecutionOptions(hours=1.0).after(900).hours == 0.75
    assert ExecutionOptions(hours=1.0).after(7200).hours == 0.0
    assert ExecutionOptions().after(900) == ExecutionOptions()


@pytest.mark.parametrize(
    ("done", "told"), [(0, "Final evaluation is incomplete: 0 of 3 seeds so far."), (1, "; 1 of 3 seeds so far.")]
)
def test_seeds_that_the_time_limit_left_out_are_reported(tmp_path: Path, monkeypatch, done: int, told: str):
    import tune.trials.run_trials

    cache = make_cache(tmp_path / "made")
    search = replace(write_search(tmp_path / "out", failed=0), final_seeds=3, cache=cache)
    folder = tmp_path / "out"
    run_trials = tune.trials.run_trials.run_trials

    def some(source: Any, job: TrialJob, **others: Any) -> bool:
        """As many runs as the time limit allows."""
        for config in source.configs[:done]:
            end(job.folder, config)
        return run_trials(source, job, **others)

    monkeypatch.setattr(tune.trials.run_trials, "run_trials", some)
    final = run_final(read_findings(search, folder), folder, execution=ExecutionOptions(hours=0.0))
    assert final is not None and not final.complete and len(final.accuracies) == done
    assert final.sentence().endswith(told)
    assert json.loads((folder / "final.json").read_text())["complete"] is False
    assert (folder / FOLDER / "results.csv").exists()


def test_status_and_report_show_the_final_evaluation(tmp_path: Path, capsys):
    from tune.report.search_section import search_section

    search = replace(write_search(tmp_path, failed=0), final_seeds=3)
    search.write(tmp_path)
    write_json(tmp_path / "best.json", {})
    resume = f"Nothing is running here. Resume with: spikeloom tune --resume {tmp_path}"
    assert read_status(tmp_path).lines()[-1] == resume
    (tmp_path / FOLDER).mkdir()
    with holding(tmp_path / FOLDER):
        write_json(
            tmp_path / FOLDER / FILE, {"updated": "2026-01-01T00:00:00+00:00", "trials": {"done": 1, "running": 1}}
        )
        status = read_status(tmp_path)
        assert status.alive
        assert status.lines()[-1] == "Final evaluation: 1 done, 1 running"
    said = {"searched": {"neuron.tau": 2.0}, "epochs": 4, "test_accuracies": [0.5, 0.75], "seeds": [7, 8, 9]}
    said |= {"test_samples": 40, "failures": ["the disk is full"], "complete": True}
    write_json(tmp_path / "final.json", said)
    sentence = (
        "Selected configuration, retrained on train + validation for 4 epochs, as many as validation selected: test "
        "accuracy 62.5 ± 17.7 % of 40 samples (50.0, 75.0); 1 of 3 seeds failed."
    )
    status = read_status(tmp_path)
    assert not status.alive and status.lines()[-1] == sentence
    assert sentence in search_section(tmp_path, "x").sentences
    write_json(tmp_path / "final.json", said | {"complete": False})
    assert read_status(tmp_path).lines()[-1] == resume
    (tmp_path / "final.json").write_text("{}")
    with pytest.raises(RunError, match=r"final\.json: cannot be read \(expected searched, .* found none\)\. Delete it"):
        read_status(tmp_path)


def test_process_that_wrote_a_status_is_looked_for_on_its_own_machine():
    here = platform.node()
    assert driver_lives({"host": here, "process": os.getppid()})
    assert not driver_lives({"host": "elsewhere", "process": os.getppid()})
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    assert not driver_lives({"host": here, "process": gone.pid})


def end(folder: Path, config: RunConfig) -> None:
    ledger = Ledger(folder)
    write_run(ledger.trial_folder(config), config)
    ledger.end(config, "done")
