"""The choice's own runs: what is said of them when the time was up before their end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import make_cache, write_run, write_search

from pipeline.config import RunConfig
from tune.final import FOLDER, run_final
from tune.findings import read_findings
from tune.ledger import Ledger
from tune.place import Place


def test_place_that_has_used_its_time_has_none_left():
    assert Place(hours=1.0).after(900).hours == 0.75
    assert Place(hours=1.0).after(7200).hours == 0.0
    assert Place().after(900) == Place()


@pytest.mark.parametrize(
    ("done", "told"), [(0, "The choice did not come to its end: 0 of 3 seeds so far"), (1, "; 1 of 3 seeds so far.")]
)
def test_seeds_that_the_time_did_not_suffice_for_are_told(tmp_path: Path, monkeypatch, done: int, told: str):
    import tune.execution

    cache = make_cache(tmp_path / "made")
    search = replace(write_search(tmp_path / "out", failed=0), final_seeds=3, cache=cache)
    folder = tmp_path / "out"
    run_trials = tune.execution.run_trials

    def some(source: Any, folder: Path, *words: Any, **others: Any) -> bool:
        """As many runs as the time is for."""
        for config in source.configs[:done]:
            end(folder, config)
        return run_trials(source, folder, *words, **others)

    monkeypatch.setattr(tune.execution, "run_trials", some)
    final = run_final(read_findings(search, folder), folder, place=Place(hours=0.0))
    assert final is not None and not final.complete and len(final.accuracies) == done
    assert final.sentence().endswith(told)
    assert json.loads((folder / "final.json").read_text())["complete"] is False
    assert (folder / FOLDER / "results.csv").exists()


def end(folder: Path, config: RunConfig) -> None:
    ledger = Ledger(folder)
    write_run(ledger.trial_folder(config), config)
    ledger.end(config, "done")
