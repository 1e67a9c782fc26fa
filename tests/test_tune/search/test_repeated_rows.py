"""Several seeds of one configuration: one mean each, and none where a run is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import write_search
from test_search_figures import words_of

from pipeline.config.run_config import fingerprint, override
from tune.search.repeated_rows import group_rows
from tune.search.search_findings import read_findings, write_findings
from tune.trials.ledger import Ledger
from tune.trials.trial_ranking import rank


def row(accuracy: float | None, status: str = "done", **others: Any) -> dict[str, Any]:
    found = {"trial": "a", "status": status, "validation_accuracy": accuracy, "firing_rate": 0.1, "epochs": 4}
    return found | {"energy_uj": 2.0, "seconds": 3.0} | others


def test_runs_become_their_mean_with_its_spread():
    (found,) = group_rows([row(0.8, energy_uj=1.0), row(0.9, energy_uj=2.0), row(1.0, energy_uj=3.0)], 3)
    assert found["validation_accuracy"] == pytest.approx(0.9) and found["energy_uj"] == 2.0
    assert found["validation_accuracy_std"] == pytest.approx(0.1)
    assert (found["seconds"], found["runs"]) == (9.0, 3)


@pytest.mark.parametrize("status", ["pruned", "failed", "waiting", "started"])
def test_configuration_of_which_a_run_is_missing_has_no_mean_and_no_rank(status: str):
    found = group_rows([row(0.99), row(None, status), row(0.8, trial="b"), row(0.7)], 2)
    assert [(one["status"], one["validation_accuracy"], one["runs"]) for one in found] == [
        (status, None, 1),
        ("done", pytest.approx(0.75), 2),
    ]
    assert [one["trial"] for one in rank(found)] == ["b"]


def test_configuration_whose_other_runs_are_not_asked_for_yet_has_no_rank():
    (found,) = group_rows([row(0.99)], 3)
    assert (found["status"], found["validation_accuracy"], found["runs"]) == ("waiting", None, 1)


def test_best_of_a_search_is_the_best_mean_not_the_luckiest_run(tmp_path: Path):
    search = write_search(tmp_path, failed=0, seeds=(1, 2))
    ledger = Ledger(tmp_path)
    for k, config in enumerate(search.configs()):
        record = ledger.read_done(config)
        assert record is not None
        # The second configuration has the best mean, the first the best run.
        accuracy = (0.99, 0.5, 0.8, 0.9)[k] if k < 4 else 0.3
        ledger.write_done(config, record | {"validation_accuracy": accuracy})
    write_findings(search, tmp_path)
    findings = read_findings(search, tmp_path)
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["search"]["trial"] == fingerprint(search.configs()[2])
    assert best["search"]["validation_accuracy"] == pytest.approx(0.85)
    assert best["search"]["validation_accuracy_std"] == pytest.approx(0.05 * 2**0.5)
    assert "85.0 ± 7.1" in findings.table().rows[0]
    assert any(
        line.startswith("8 of 8 configurations completed training with all 2 seeds") for line in findings.sentences()
    )
    words = words_of(tmp_path / "figures" / "accuracy.svg")
    assert "8 complete of 8 configurations, means of 2 seeds; lines: the best, bars: standard deviation" in words


def test_single_runs_have_no_spread():
    (found,) = group_rows([row(0.9)], 1)
    assert (found["validation_accuracy"], found["validation_accuracy_std"]) == (0.9, None)


def test_trials_that_end_before_their_schedule_are_ranked(tmp_path: Path):
    search = write_search(tmp_path, failed=0)
    ended = replace(search, config=override(search.config, {"schedule.stop_epoch": 3}))
    for old, new in zip(search.configs(), ended.configs(), strict=True):
        record = Ledger(tmp_path).read_done(old)
        assert record is not None
        Ledger(tmp_path).write_done(new, record | {"trial": fingerprint(new)})
    findings = read_findings(ended, tmp_path)
    assert findings.ranked and len(findings.points) == len(ended.trials)
