"""Convergence in a comparison: the warning above its verdict, and the speed of learning."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import CONFIG, write_comparison, write_curve, write_run

from pipeline.config.run_config import override
from preprocess.files import write_json
from tune.comparison.arms import Setting
from tune.comparison.comparison_plan import compare_neurons
from tune.comparison.comparison_tables import accuracy_table, csv_text, tables
from tune.comparison.conclusions import Conclusion, conclude
from tune.comparison.convergence.convergence_table import convergence_table, speed_table
from tune.comparison.figures.overview_figures import overview_figures
from tune.comparison.run_comparison import write_conclusion
from tune.report import write_report
from tune.stats.sign_flip import sign_flip_p
from tune.trials.ledger import Ledger

FITTED = [0.3, 0.6, 0.9, 0.99, 1.0, 1.0]
SLOW = [0.3, 0.4, 0.5, 0.55, 0.6, 0.65]


def concluded(folder: Path, curves: dict[str, list[list[float]]], epochs: int = 6) -> Conclusion:
    """A comparison whose runs have these learning curves, by neuron and seed."""
    config = override(CONFIG, {"schedule.epochs": epochs})
    comparison = write_comparison(folder, {name: [30] * len(mine) for name, mine in curves.items()}, config=config)
    for arm in comparison.arms:
        for seed, curve in zip(comparison.seeds, curves[arm.name], strict=True):
            write_curve(folder, comparison.config_of(comparison.settings[0], arm, seed), curve)
    return conclude(comparison, folder)


def test_a_verdict_over_unconverged_runs_stands_below_a_warning_everywhere(tmp_path: Path):
    conclusion = concluded(tmp_path, {"lif": [FITTED, FITTED], "clif": [FITTED, SLOW]})
    warning, verdict, *_ = conclusion.statements()
    assert warning == (
        "Not trained to convergence: this compares speed of learning at 6 epochs, not what the neurons can learn. Runs "
        "that had not converged: LIF 0 of 2, CLIF 1 of 2. `--epochs auto` trains until they have."
    )
    assert verdict.startswith("CLIF − LIF is")
    assert [row[6] for row in accuracy_table(conclusion).rows] == ["2 of 2", "1 of 2", ""]
    write_conclusion(conclusion.comparison, tmp_path)
    found = (tmp_path / "table.md").read_text()
    assert found.index(warning) < found.index(verdict)
    page = write_report(tmp_path).read_text()
    shown = re.search(
        r'<p class="warning" role="note">Not trained to convergence.*?</p>\n<p class="lead">CLIF', page, re.S
    )
    assert shown is not None
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [(row["converged_runs"], row["unconverged_seeds"]) for row in rows] == [("2", ""), ("1", "8"), ("", "")]
    runs = list(csv.DictReader((tmp_path / "convergence.csv").open()))
    assert [(row["neuron"], row["seed"], row["converged"], row["reason"]) for row in runs] == [
        ("lif", "7", "true", "fitted"), ("lif", "8", "true", "fitted"),
        ("clif", "7", "true", "fitted"), ("clif", "8", "false", "too short"),
    ]  # fmt: skip


def test_a_comparison_of_converged_runs_says_so_and_warns_of_nothing(tmp_path: Path):
    conclusion = concluded(tmp_path, {"lif": [FITTED, FITTED], "clif": [FITTED, FITTED]})
    assert conclusion.warning == "" and conclusion.statements() == conclusion.sentences()
    assert any(line.startswith("All 4 finished runs had converged: ") for line in conclusion.sentences())
    assert 'class="warning"' not in write_report(tmp_path).read_text()


def test_the_table_of_convergence_gives_each_run_s_reason_and_the_numbers_behind_it(tmp_path: Path):
    conclusion = concluded(tmp_path, {"lif": [FITTED, FITTED], "clif": [FITTED, SLOW]})
    lif, clif = convergence_table(conclusion).rows
    assert lif == (
        "LIF",
        "6",
        "2 of 2",
        "fits its training samples: 7, 8",
        "100.0 ± 0.0",
        "+5.5",
        "−0.110",
        "–",
        "+25.0",
        "4",
    )
    assert clif[3] == "fits its training samples: 7; too few epochs to tell: 8"
    assert convergence_table(conclusion) in tables(conclusion)


def test_settings_that_had_not_converged_are_named(tmp_path: Path):
    settings = tuple(
        Setting(f"schedule.epochs = {n}", override(CONFIG, {"schedule.epochs": n}), {"schedule.epochs": n})
        for n in (5, 12)
    )
    comparison = replace(compare_neurons("x", CONFIG, ("lif", "clif"), (7, 8), tmp_path), settings=settings)
    comparison.write(tmp_path)
    for setting, arm in comparison.cells():
        for seed in comparison.seeds:
            config = comparison.config_of(setting, arm, seed)
            write_run(Ledger(tmp_path).trial_folder(config), config)
            curve = [min(1.0, 0.2 * (k + 1)) for k in range(config.schedule.epochs)]
            write_curve(tmp_path, config, curve)
            Ledger(tmp_path).end(config, "done")
    conclusion = conclude(comparison, tmp_path)
    assert "at 5 epochs in 1 of 2 settings (schedule.epochs = 5), not what" in conclusion.warning
    assert "LIF 2 of 4, CLIF 2 of 4" in conclusion.warning
    # The difference against the epochs is a figure.
    assert {"accuracy", "gap"} <= overview_figures(conclusion).keys()
    (axes,) = overview_figures(conclusion)["gap"].draw("").axes
    assert axes.get_xlabel() == "schedule.epochs" and list(axes.get_xticks()) == [5, 12]


def test_speed_of_learning_is_paired_by_seed_and_censored_runs_count_with_all_their_epochs(tmp_path: Path):
    conclusion = concluded(tmp_path, {"lif": [FITTED] * 6, "clif": [SLOW] * 5 + [[0.45, 0.95, 1.0, 1.0, 1.0, 1.0]]})
    lif, clif, difference = speed_table(conclusion).rows
    # 90 % is reached after exactly 3 epochs, and between the first and second: 1 + (0.9 - 0.45) / 0.5.
    assert lif[:4] == ("LIF", "3.0 ± 0.0", "–", "0 of 6")
    assert clif[0::3] == ("CLIF", "5 of 6", "") and clif[1].startswith("5.3 ± ")
    values = [3.0] * 5 + [1.9 - 3.0]
    assert difference[0] == "CLIF − LIF" and difference[1].startswith("+2.3 ± ")
    assert difference[5] == f"{sign_flip_p(values):.2g}" == difference[6]
    rows = list(csv.DictReader(io.StringIO(csv_text(conclusion))))
    assert [float(row["epochs_to_accuracy_mean"]) for row in rows] == pytest.approx([3.0, 31.9 / 6, 13.9 / 6])
    assert rows[1]["not_reached_seeds"] == "7 8 9 10 11" and rows[0]["speed_at"] == "0.9"
    assert float(rows[2]["speed_sign_flip_p"]) == sign_flip_p(values)


def test_a_run_that_early_stopping_ended_is_not_faster_than_one_that_reached_the_accuracy(tmp_path: Path):
    comparison = concluded(tmp_path, {"lif": [FITTED, FITTED], "clif": [SLOW[:2], SLOW[:2]]}).comparison
    for seed in comparison.seeds:
        config = comparison.config_of(comparison.settings[0], comparison.arms[1], seed)
        path = Ledger(tmp_path).trial_folder(config) / "result.json"
        write_json(path, json.loads(path.read_text()) | {"epochs": 2})
    lif, clif, difference = speed_table(conclude(comparison, tmp_path)).rows
    assert (lif[1], lif[3], clif[1], clif[3]) == ("3.0 ± 0.0", "0 of 2", "6.0 ± 0.0", "2 of 2")
    assert difference[1] == "+3.0 ± 0.0"


def test_samples_to_an_accuracy_are_epochs_times_the_samples_of_an_epoch(tmp_path: Path):
    conclusion = concluded(tmp_path, {"lif": [FITTED, FITTED], "clif": [FITTED, FITTED]})
    for path in tmp_path.glob("trials/*/result.json"):
        write_json(path, json.loads(path.read_text()) | {"train_samples": 103, "left_out_per_epoch": 3})
    lif, *_ = speed_table(conclude(conclusion.comparison, tmp_path)).rows
    assert lif[2] == "300 ± 0"


def test_where_no_run_reached_the_accuracy_there_is_no_table_of_speed(tmp_path: Path):
    conclusion = concluded(tmp_path, {"lif": [SLOW, SLOW], "clif": [SLOW, SLOW]})
    assert not any(table.title.startswith("Emulated data: Speed") for table in tables(conclusion))
