"""A run whose files cannot be counted is listed and left out of every number, with the file and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import CLASSES, CONFIG, make_cache, write_comparison, write_comparison_runs

from preprocess.files import write_json
from tune.comparison.comparison_plan import Comparison, compare_neurons
from tune.comparison.comparison_tables import tables
from tune.comparison.conclusions import Conclusion, conclude
from tune.report import write_report
from tune.trials.ledger import Ledger


def folder_of(folder: Path, comparison: Comparison, arm: int, seed: int) -> Path:
    config = comparison.config_of(comparison.settings[0], comparison.arms[arm], seed)
    return Ledger(folder).trial_folder(config)


def with_damage(folder: Path, damage: Callable[[Path], object]) -> Conclusion:
    """What a comparison says, of which LIF's first run was damaged so."""
    comparison = write_comparison(folder, {"lif": [30, 29, 31], "clif": [31, 31, 33]})
    damage(folder_of(folder, comparison, 0, 7))
    return conclude(comparison, folder)


def says(**values: Any) -> Callable[[Path], object]:
    """Damage that puts other values into `result.json`; of `...` the value is taken away."""

    def damage(run: Path) -> None:
        result = json.loads((run / "result.json").read_text()) | values
        write_json(run / "result.json", {name: value for name, value in result.items() if value is not ...})

    return damage


def measures(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], file: str = "metrics.jsonl") -> Any:
    """Damage of the rows of a file of rows."""

    def damage(run: Path) -> None:
        rows = change([json.loads(line) for line in (run / file).read_text().splitlines()])
        (run / file).write_text("".join(json.dumps(row) + "\n" for row in rows))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (says(test_accuracy="abc"), "result.json: cannot be read (test_accuracy: expected a number, found 'abc')"),
        (says(test_accuracy=float("nan")), "test_accuracy: expected a number from 0 to 1, found nan"),
        (says(test_accuracy=1.7), "test_accuracy: expected a number from 0 to 1, found 1.7"),
        (says(test_accuracy=0.9), "expected correct / test_samples, found 0.9 for 30 of 40 samples"),
        (says(test_samples=0), "test_samples: expected a whole number of 1 or more, found 0"),
        (says(seconds=10**400), "seconds: expected a number, found 1000"),
        (says(confusion=...), "result.json: expected values of confusion, found none. Delete"),
        (says(firing_rates=...), "result.json: expected values of firing_rates, found none"),
        (says(firing_rates=[1]), "firing_rates: expected an object, found [1]"),
        (says(confusion=[[1, 2], [3]]), "confusion: expected a square matrix of counts, found [[1, 2], [3]]"),
        (says(confusion=[[30, 10], [0, 0]]), "confusion: expected a row for each class, found 2 for 3 classes"),
        (says(confusion=[[1, 0, 0]] * 3), "confusion: expected 30 correct of 40 samples, found 1 of 3"),
        (says(energy=[]), "energy: expected an object, found []"),
        (measures(lambda rows: [*rows, rows[-1]]), "the rows of epochs 1 to 5, found 1, 2, 3, 4, 5, 5"),
        (measures(lambda rows: rows[1:]), "metrics.jsonl: expected the rows of epochs 1 to 5, found 2, 3, 4, 5"),
        (measures(lambda rows: []), "expected the rows of epochs 1 to 5, found none"),
        (
            measures(lambda rows: [row | {"train_accuracy": float("nan")} for row in rows]),
            "train_accuracy: expected a number from 0 to 1, found nan",
        ),
        (
            measures(lambda rows: [row | {"train_loss": "x"} for row in rows]),
            "train_loss: expected a number or null, found",
        ),
        (measures(lambda rows: rows[::-1], "timings.jsonl"), "timings.jsonl: expected a row for each epoch in turn"),
        (measures(lambda rows: [{"epoch": 1}], "timings.jsonl"), "epoch_s: expected a number of 0 or more, found None"),
    ],
)
def test_a_run_that_cannot_be_counted_is_listed_and_left_out(
    tmp_path: Path, damage: Callable[[Path], object], message: str
):
    conclusion = with_damage(tmp_path, damage)
    (told,) = conclusion.errors
    assert told.startswith("LIF seed 7: damaged: ") and message in told and "\n" not in told
    assert list(conclusion.results[0].arms["lif"].accuracy) == [8, 9]
    assert tables(conclusion) and conclusion.sentences()


def test_a_page_of_a_damaged_first_run_is_made(tmp_path: Path):
    with_damage(tmp_path, says(confusion=...))
    assert "result.json: expected values of confusion, found none" in write_report(tmp_path).read_text()


def test_an_unfinished_value_of_an_earlier_version_may_be_missing(tmp_path: Path):
    conclusion = with_damage(tmp_path, says(energy_uj=None, test_loss=..., validation_accuracy=None))
    assert conclusion.errors == ()


def negated(run: Path) -> None:
    with np.load(run / "predictions.npz") as held:
        columns = dict(held)
    np.savez_compressed(run / "predictions.npz", **(columns | {"logits": -columns["logits"]}))


def test_a_run_whose_answers_are_damaged_or_others_than_its_result_counted_is_left_out(tmp_path: Path):
    (told,) = with_damage(tmp_path / "a", negated).errors
    assert "predictions.npz: expected 30 correct predictions of 40 as in result.json, found " in told
    assert "Write it again: spikeloom evaluate" in told
    cut = with_damage(tmp_path / "b", lambda run: (run / "predictions.npz").write_bytes(b"PK"))
    (told,) = cut.errors
    assert told.startswith("LIF seed 7: damaged: ") and "predictions.npz: cannot be read" in told
    assert list(cut.results[0].differences[0].by_seed) == [8, 9]


def test_a_run_without_answers_takes_the_interval_of_its_neuron_alone_and_is_told(tmp_path: Path):
    cache = make_cache(tmp_path)
    tested = len(CLASSES) * 4
    config = replace(CONFIG, batch_size=3)
    comparison = compare_neurons("x", config, ("lif", "clif", "plif"), (7, 8, 9), cache)
    counts: dict[tuple[str, str], list[int | None]] = {
        ("", "lif"): [8, 9, 10], ("", "clif"): [9, 9, 9], ("", "plif"): [9, None, 9]
    }  # fmt: skip
    folder = tmp_path / "out"
    cause = "expected a finite loss, found nan at step 3"
    write_comparison_runs(folder, comparison, counts, cache, cause, samples=tested)
    (folder_of(folder, comparison, 1, 8) / "predictions.npz").unlink()
    conclusion = conclude(comparison, folder)
    assert conclusion.errors == ()
    lif, clif, plif = conclusion.results[0].arms.values()
    assert lif.bootstrap is not None and clif.bootstrap is None and plif.bootstrap is None
    assert list(clif.accuracy) == [7, 8, 9]
    assert (
        "Intervals over test samples are missing because: CLIF seed 8 has no predictions.npz; PLIF seed 8 diverged."
    ) in conclusion.sentences()


def test_runs_of_other_test_samples_have_no_interval_and_are_told(tmp_path: Path):
    def renamed(run: Path) -> None:
        with np.load(run / "predictions.npz") as held:
            columns = dict(held)
        names = np.char.add(columns["name"], "x")
        np.savez_compressed(run / "predictions.npz", **(columns | {"name": names}))

    said = " ".join(with_damage(tmp_path, renamed).sentences())
    assert "Intervals over test samples are missing because: " in said
    assert "Compare runs of one data set and split." in said
