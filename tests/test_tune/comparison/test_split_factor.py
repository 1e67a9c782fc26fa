"""Splits as a factor: pairs are seeds on splits, and the page says that test samples differ between them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import CONFIG
from made_up import write_comparison_runs as write_runs
from scipy.stats import t as student

from pipeline.config.run_config import RunConfig, override
from preprocess.terminal.command_line import UsageError
from tune.commands import compare as command
from tune.comparison.comparison_plan import Comparison
from tune.comparison.comparison_tables import csv_text, seed_table, tables
from tune.comparison.conclusions import Conclusion, conclude, seeds_warning
from tune.comparison.designs.design import PAIR, make_settings
from tune.comparison.planned_runs import plan_lines
from tune.comparison.resampling.joined_splits import join_splits
from tune.rendering.labels import DrawnSeed, format_seeds
from tune.report.comparison_section import comparison_section
from tune.stats.resampled_interval import resampled_interval
from tune.stats.sign_flip import sign_flip_p
from tune.stats.summary import t_interval
from tune.trials.ledger import Ledger

FOLDS = override(CONFIG, {"dataset.split": "leave-groups-out", "dataset.folds": 3})
# Correct test samples of 40, by fold and seed.
LIF = [[20, 21], [25, 26], [30, 28]]
CLIF = [[22, 24], [26, 29], [35, 30]]


def folds(axes: dict[str, tuple[object, ...]] | None = None, config: RunConfig = FOLDS) -> Comparison:
    settings = make_settings({"p": config}, axes or {"dataset.fold": (0, 1, 2)}, {})
    return Comparison("p", settings, PAIR, (7, 8), Path("no-cache"))


def written(folder: Path, comparison: Comparison) -> Conclusion:
    """Made-up runs: every 40 test samples for 80 training samples."""
    correct = {}
    for setting in comparison.settings:
        k = setting.place["dataset.fold"]
        correct |= {(setting.name, "lif"): LIF[k], (setting.name, "clif"): CLIF[k]}
    write_runs(folder, comparison, correct)
    for path in (folder / "trials").glob("*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"train_samples": 80}))
    return conclude(comparison, folder)


def test_settings_that_differ_only_in_the_fold_are_one_with_pairs_of_seed_and_fold(tmp_path: Path):
    conclusion = written(tmp_path, folds())
    (result,) = conclusion.results
    (difference,) = result.differences
    expected = [(CLIF[k][s] - LIF[k][s]) / 40 for s in (0, 1) for k in (0, 1, 2)]
    assert difference.values == pytest.approx(expected)
    assert [str(pair) for pair in difference.by_seed] == [
        "7/fold0",
        "7/fold1",
        "7/fold2",
        "8/fold0",
        "8/fold1",
        "8/fold2",
    ]
    assert (conclusion.family, conclusion.splits, result.setting.name) == (1, 3, "")
    assert difference.p == sign_flip_p(expected) and difference.interval == t_interval(difference.values)


def test_the_interval_over_splits_is_that_of_nadeau_and_bengio(tmp_path: Path):
    (result,) = written(tmp_path, folds()).results
    by_fold = [np.mean([(CLIF[k][s] - LIF[k][s]) / 40 for s in (0, 1)]) for k in range(3)]
    half = student.ppf(0.975, 2) * np.std(by_fold, ddof=1) * np.sqrt(1 / 3 + 40 / 80)
    ends = np.mean(by_fold) - half, np.mean(by_fold) + half
    assert result.differences[0].crossed_interval == pytest.approx(ends)
    assert resampled_interval([0.1, 0.1], 0.5) is None and resampled_interval([0.1], 0.5) is None
    assert result.arms["lif"].crossed_interval is not None and result.unread == ()


def test_more_splits_of_one_data_set_do_not_shrink_the_interval_to_nothing():
    values = np.random.default_rng(0).normal(0.1, 0.02, 1000).tolist()
    plain, corrected = t_interval(values), resampled_interval(values, 1 / 9)
    assert plain is not None and corrected is not None
    assert corrected[1] - corrected[0] > 10 * (plain[1] - plain[0])


def test_the_sentences_say_which_splits_and_that_test_samples_differ(tmp_path: Path):
    conclusion = written(tmp_path, folds())
    headline, *others = conclusion.sentences()
    assert headline.startswith("CLIF − LIF is +6.67 percentage points over 6 pairs (95 % interval")
    assert " over pairs, " in headline and " over seeds and splits; sign-flip p = 0.031" in headline
    assert "CLIF is significantly better on these splits, but the interval over splits includes zero" in headline
    said = next(line for line in others if line.startswith("A pair is one seed on one of 3 splits"))
    assert "leave-groups-out (folds 0, 1, 2 of 3). Test samples differ between splits" in said
    assert "each group of samples is tested exactly once" in said
    section = comparison_section(tmp_path, "c")
    assert any("leave-groups-out (folds 0, 1, 2 of 3)" in line for line in section.sentences)
    assert any("Test samples differ between splits" in table.note for table in section.tables)


@pytest.mark.parametrize(("train", "said"), [((80, 80, 45), ""), ((80, 80, 16), "0.5 to 2.5 test samples for each")])
def test_splits_of_very_unequal_sizes_make_the_interval_rough(tmp_path: Path, train: tuple[int, ...], said: str):
    planned = folds()
    written(tmp_path, planned)
    for setting, count in zip(planned.settings, train, strict=True):
        for arm in planned.arms:
            path = Ledger(tmp_path).trial_folder(planned.config_of(setting, arm, 7)) / "result.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"train_samples": count}))
    (sentence,) = [line for line in conclude(planned, tmp_path).sentences() if line.startswith("A pair is one seed")]
    assert said in sentence and ("the interval uses the mean of these ratios" in sentence) == bool(said)


def test_folds_that_were_not_run_are_admitted(tmp_path: Path):
    conclusion = written(tmp_path, folds({"dataset.fold": (0, 2)}))
    assert any("Not all 3 folds were run, so that some groups" in line for line in conclusion.sentences())


def test_other_axes_remain_settings_and_tables_list_every_pair(tmp_path: Path):
    conclusion = written(tmp_path, folds({"neuron.tau": (1.5, 2.0), "dataset.fold": (0, 1, 2)}))
    assert [result.setting.name for result in conclusion.results] == ["tau = 1.5", "tau = 2"]
    assert conclusion.results[0].setting.place == {"preset": "p", "neuron.tau": 1.5}
    assert conclusion.family == 2 and len(tables(conclusion)) > 3
    rows = [row[0] for row in seed_table(conclusion, conclusion.results[0]).rows]
    assert rows[:6] == ["7/fold0", "7/fold1", "7/fold2", "8/fold0", "8/fold1", "8/fold2"]
    assert "7/fold0 7/fold1 7/fold2 8/fold0" in csv_text(conclusion)
    assert len(conclusion.overall("clif")) == 6


def test_a_pair_that_lacks_a_run_is_missing_in_no_other(tmp_path: Path):
    comparison = folds()
    correct = {(setting.name, arm): [30, 31] for setting in comparison.settings for arm in ("lif", "clif")}
    write_runs(tmp_path, comparison, correct | {(comparison.settings[1].name, "clif"): [None, 31]}, cause="killed")
    conclusion = conclude(comparison, tmp_path)
    assert [str(pair) for pair in conclusion.results[0].differences[0].by_seed].count("7/fold1") == 0
    assert conclusion.errors == ("CLIF seed 7/fold1: failed: killed",)


def test_a_comparison_without_splits_as_a_factor_is_left_as_it_is():
    comparison = folds({"neuron.tau": (1.5, 2.0)})
    joined = join_splits(comparison)
    assert joined.comparison is comparison and joined.splits == 1
    assert joined.draws_of(comparison.settings[0]) == ()


def test_tuned_values_that_differ_between_folds_are_listed():
    comparison = folds()
    names = [setting.name for setting in comparison.settings]
    tuned = {(name, "lif"): {"neuron.tau": tau} for name, tau in zip(names, (1.5, 2.0, 1.5), strict=True)}
    tuned |= {(name, "clif"): {"neuron.tau": 2.0} for name in names}
    view = join_splits(replace(comparison, tuned=tuned)).comparison
    assert view.tuned == {("", "lif"): {"neuron.tau": "1.5, 2"}, ("", "clif"): {"neuron.tau": 2.0}}


def test_pairs_are_numbers_that_are_written_as_seed_and_split():
    pairs = [DrawnSeed(2 * s + k, 7 + s, f"fold{k}") for s in range(3) for k in range(2)]
    assert sorted([pairs[k] for k in (5, 0, 3, 1, 4, 2)]) == pairs and f"{pairs[3]}" == "8/fold1"
    assert format_seeds(pairs) == "7–9 on fold0, fold1"
    assert format_seeds(pairs[:3]) == "7/fold0, 7/fold1, 8/fold0"


def test_the_plan_counts_pairs(tmp_path: Path):
    lines = plan_lines(folds(), tmp_path)
    assert "12 runs of 5 epochs: LIF, CLIF, 6 pairs each (7, 8 on fold0, fold1, fold2); 0 already done" in lines
    assert any(line.startswith("With 6 pairs, the sign-flip test") for line in lines)
    assert "4 pairs cannot show" in seeds_warning(4, 1, 2) and "at least 6 pairs (--seeds 3)" in seeds_warning(4, 1, 2)


def plan(*argv: str) -> Comparison:
    return command.plan_comparison(command.parse_arguments(argv))


def test_the_command_takes_folds_and_split_seeds_as_factors():
    given = ("gestures-small", "--dataset.split", "leave-groups-out", "--over", "dataset.fold=0,1,2,3,4")
    assert join_splits(plan(*given)).splits == 5
    drawn = plan("gestures-small", "--dataset.split", "random-0.9", "--over", "dataset.split_seed=0,1")
    assert [str(pair) for pair in join_splits(drawn).comparison.seeds][:2] == ["2022/split_seed0", "2022/split_seed1"]


def test_folds_of_a_split_that_has_none_are_refused():
    with pytest.raises(
        UsageError, match=r"dataset.fold=0,1: expected 0 with dataset.split official, which does not use"
    ):
        plan("gestures-small", "--over", "dataset.fold=0,1")
