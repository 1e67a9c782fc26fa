"""The training time of an exchanged neuron is that of both of its parts, in tables and in readings at equal time."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from made_up import CONFIG, write_comparison_runs, write_run

from preprocess.files import read_json, write_json, write_lines
from tune.comparison.arms import Setting, exchanged_arm, neuron_arm
from tune.comparison.comparison_plan import Comparison
from tune.comparison.comparison_tables import accuracy_table
from tune.comparison.conclusions import Conclusion, conclude
from tune.comparison.equal_cost import accuracies_at_equal_cost
from tune.trials.ledger import Ledger

LAST = CONFIG.schedule.epochs


def write_times(folder: Path, first: int, last: int, seconds: float) -> None:
    """The times of some epochs, and their sum in the result, as a run has them that went on from another."""
    rows = [{"epoch": epoch, "epoch_s": seconds, "ended": 0.0} for epoch in range(first, last + 1)]
    write_lines(folder / "timings.jsonl", rows)
    write_json(folder / "result.json", {**(read_json(folder / "result.json") or {}), "seconds": seconds * len(rows)})


def exchanged(folder: Path, *, first_part: bool = True) -> Conclusion:
    """LIF of 2.5 s an epoch against one that is CLIF, of 1 s, after its second epoch, of 7 s."""
    arms = neuron_arm("lif"), exchanged_arm("lif", "clif", 2)
    comparison = Comparison("x", (Setting("", CONFIG),), arms, (7, 8), folder / "cache").declare(0)
    write_comparison_runs(folder, comparison, {("", arms[0].name): [30, 31], ("", arms[1].name): [31, 32]})
    for seed in comparison.seeds:
        before, after = comparison.parts_of(comparison.settings[0], arms[1], seed)
        write_times(Ledger(folder).trial_folder(after), 3, LAST, 1.0)
        if first_part:
            write_run(Ledger(folder).trial_folder(before), before, 30)
            write_times(Ledger(folder).trial_folder(before), 1, 2, 7.0)
    return conclude(comparison, folder)


def test_both_parts_of_an_exchanged_neuron_count(tmp_path: Path):
    lif, other, _ = accuracy_table(exchanged(tmp_path)).rows
    assert (lif[5], other[5]) == ("12 ± 0", "17 ± 0")


def test_equal_training_time_is_read_of_both_parts(tmp_path: Path):
    conclusion = exchanged(tmp_path)
    (reading,) = accuracies_at_equal_cost(conclusion)
    assert (reading.quantity, reading.at) == ("training time (train accuracy)", "12 s")
    # After 12.5 s, when LIF ends, the other is between its first and second epoch: these took it 7 s each.
    name = conclusion.comparison.arms[1].name
    runs = [conclusion.outcomes["", name, seed].run for seed in (7, 8)]
    after = [fmean(run.metrics[epoch]["train_accuracy"] for run in runs if run is not None) for epoch in (0, 1)]
    assert reading.accuracies[name] == pytest.approx(np.interp(12.5, [7, 14], after))


def test_without_the_first_part_the_time_is_missing_instead_of_too_short(tmp_path: Path):
    conclusion = exchanged(tmp_path, first_part=False)
    assert [row[5] for row in accuracy_table(conclusion).rows] == ["12 ± 0", "–", ""]
    assert accuracies_at_equal_cost(conclusion) == []


@pytest.mark.parametrize("lost", [1, LAST])
def test_a_lost_time_of_an_epoch_leaves_nothing_to_read(tmp_path: Path, lost: int):
    conclusion = exchanged(tmp_path)
    comparison = conclusion.comparison
    folder = Ledger(tmp_path).trial_folder(comparison.config_of(comparison.settings[0], comparison.arms[0], 7))
    rows = [{"epoch": epoch, "epoch_s": 2.5} for epoch in range(1, LAST + 1) if epoch != lost]
    write_lines(folder / "timings.jsonl", rows)
    assert accuracies_at_equal_cost(conclude(comparison, tmp_path)) == []
