"""A margin that is declared before the runs: equivalent within it, different, or not decided (how many seeds would)."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import write_comparison

from preprocess.errors import ConfigError
from tune import compare
from tune.comparison.comparison_plan import Comparison
from tune.comparison.comparison_tables import csv_text
from tune.comparison.conclusions import Conclusion, conclude
from tune.comparison.margin_verdict import judge_margin
from tune.report import write_report
from tune.stats.bootstrap import Bootstrap
from tune.stats.equivalence import equivalence_p, equivalence_power
from tune.stats.holm import holm
from tune.stats.sign_flip import sign_flip_p

LIF = [30, 29, 31, 30, 28, 30, 31, 30]


def judged(folder: Path, margin: float, **counts: list[int]) -> Conclusion:
    comparison = write_comparison(folder, {name: list(values) for name, values in counts.items()})
    return conclude(replace(comparison, margin=margin), folder)


def verdict_of(conclusion: Conclusion) -> str:
    (result,) = conclusion.results
    found = conclusion.margin_verdict(result, result.differences[0])
    assert found is not None
    return found.decision


def test_differences_within_the_margin_are_equivalent(tmp_path: Path):
    same = [count + shift for count, shift in zip(LIF, [0, 1, 0, 0, -1, 0, 0, 0], strict=True)]
    conclusion = judged(tmp_path, 0.05, lif=LIF, clif=same)
    assert verdict_of(conclusion) == "equivalent"
    said = conclusion.sentences()[0]
    values = conclusion.results[0].differences[0].values
    assert (
        f"equivalence p = {equivalence_p(values, 0.05, least_std=1 / 40):.2g}): equivalent within 5 percentage points"
        in said
    )
    (_, _, row) = csv.DictReader(io.StringIO(csv_text(conclusion)))
    assert row["verdict"] == "equivalent" and float(row["margin"]) == 0.05
    assert float(row["equivalence_p"]) == equivalence_p(values, 0.05, least_std=1 / 40)


def test_equivalence_that_holds_over_seeds_alone_may_not_generalise(tmp_path: Path):
    same = [count + shift for count, shift in zip(LIF, [0, 1, 0, 0, -1, 0, 0, 0], strict=True)]
    conclusion = judged(tmp_path, 0.05, lif=LIF, clif=same)
    (result,) = conclusion.results
    (difference,) = result.differences
    drawn = Bootstrap(0.0, (-0.01, 0.01), None, 0.01, 0.01, 0.5, 0.5)
    for interval, ending in (((-0.04, 0.04), "within 5 percentage points."), ((-0.04, 0.06), "may not generalise.")):
        changed = replace(difference, bootstrap=replace(drawn, t_interval=interval))
        again = replace(conclusion, results=(replace(result, differences=(changed,)),))
        assert again.sentences()[0].endswith(ending)


@pytest.mark.parametrize(
    ("shift", "size"),
    [(1, "whether by more than 5 percentage points is not shown."), (8, "by more than 5 percentage points.")],
)
def test_differences_beyond_the_margin_are_different(tmp_path: Path, shift: int, size: str):
    better = [count + shift + k % 2 for k, count in enumerate(LIF)]
    conclusion = judged(tmp_path, 0.05, lif=LIF, clif=better)
    assert verdict_of(conclusion) == "different"
    assert conclusion.sentences()[0].endswith(f"different: CLIF is significantly better on this test set, {size}")


@pytest.mark.parametrize(("margin", "beyond"), [(0.005, True), (0.04, False)])
def test_equal_differences_vary_by_at_least_one_test_sample(tmp_path: Path, margin: float, beyond: bool):
    """Six times 2 of 40 samples: 5 percentage points, and one sample is 2.5."""
    conclusion = judged(tmp_path, margin, lif=[30] * 6, clif=[32] * 6)
    assert verdict_of(conclusion) == "different"
    within = f"by more than {100 * margin:g} percentage points"
    assert conclusion.sentences()[0].endswith(f", {within}." if beyond else f", whether {within} is not shown.")


def test_an_interval_on_both_sides_of_the_margin_does_not_show_a_difference_beyond_it(tmp_path: Path):
    # All signs agree, so the sign-flip test finds a difference; one outlier makes the interval wide on both sides.
    conclusion = judged(tmp_path, 0.01, lif=[10] * 8, clif=[11, 11, 11, 11, 11, 11, 11, 40])
    low, high = conclusion.results[0].differences[0].interval or (0.0, 0.0)
    assert low < -0.01 < 0.01 < high and verdict_of(conclusion) == "different"
    assert "whether by more than 1 percentage points is not shown" in conclusion.sentences()[0]


def test_what_is_not_decided_says_about_how_many_more_seeds_would(tmp_path: Path):
    mixed = [count + shift for count, shift in zip(LIF, [4, -4, 3, -3, 2, -2, 4, -3], strict=True)]
    conclusion = judged(tmp_path, 0.02, lif=LIF, clif=mixed)
    (result,) = conclusion.results
    (difference,) = result.differences
    found = conclusion.margin_verdict(result, difference)
    assert found is not None and found.decision == "not decided" and found.more_seeds is not None
    values = difference.values
    mean = sum(values) / 8
    std = (sum((value - mean) ** 2 for value in values) / 7) ** 0.5
    needed = 8 + found.more_seeds
    assert equivalence_power(mean, std, 0.02, needed) >= 0.8 > equivalence_power(mean, std, 0.02, needed - 1)
    assert f"about {found.more_seeds} more seeds would, with 80 % power" in conclusion.sentences()[0]


def test_equal_accuracies_are_equivalent_if_a_test_sample_resolves_the_margin(tmp_path: Path):
    # 40 test samples: one is 2.5 percentage points.
    assert verdict_of(judged(tmp_path / "wide", 0.05, lif=LIF, clif=LIF)) == "equivalent"
    fine = judged(tmp_path / "fine", 0.005, lif=LIF, clif=LIF)
    assert verdict_of(fine) == "not decided" and "more seeds would" in fine.sentences()[0]


def test_one_seed_and_no_seed_decide_nothing(tmp_path: Path):
    assert "one pair of runs cannot distinguish" in judged(tmp_path, 0.05, lif=[30], clif=[30]).sentences()[0]
    conclusion = judged(tmp_path / "two", 0.05, lif=LIF, clif=LIF)
    nothing = replace(conclusion.results[0].differences[0], by_seed={})
    assert judge_margin(nothing, 0.05, equivalence_p=None, difference_p=None, family=1) is None


def test_several_tests_of_equivalence_are_corrected_by_holm(tmp_path: Path):
    near = [count + shift for count, shift in zip(LIF, [0, 1, 0, 0, -1, 0, 0, 0], strict=True)]
    far = [count + shift for count, shift in zip(LIF, [1, -2, 0, 2, -1, 0, 1, 0], strict=True)]
    conclusion = judged(tmp_path, 0.05, lif=LIF, clif=near, plif=far)
    (result,) = conclusion.results
    raw = [equivalence_p(difference.values, 0.05, least_std=1 / 40) for difference in result.differences]
    found = [conclusion.margin_verdict(result, difference) for difference in result.differences]
    assert [one and one.equivalence_p for one in found] == holm(raw)
    assert [conclusion.adjusted(result, one) for one in result.differences] == holm(
        [sign_flip_p(one.values) for one in result.differences]
    )
    assert "with Holm's correction for 2 differences" in conclusion.sentences()[0]


def test_each_of_many_neurons_in_one_setting_has_its_sentence(tmp_path: Path):
    names = ("clif", "plif", "klif", "glif", "psn")
    conclusion = judged(tmp_path, 0.05, lif=LIF, **dict.fromkeys(names, LIF))
    assert [said.split(" − ")[0] for said in conclusion.sentences()[:5]] == ["CLIF", "PLIF", "KLIF", "GLIF", "PSN"]
    assert all("within 5 percentage points" in said for said in conclusion.sentences()[:5])


def test_many_settings_are_counted_by_their_verdict(tmp_path: Path):
    conclusion = judged(tmp_path, 0.05, lif=LIF, **dict.fromkeys(("clif", "plif", "klif", "glif", "psn"), LIF))
    (result,) = conclusion.results
    twice = replace(conclusion, results=(result, result))
    assert "Equivalent within 5 percentage points in 2, different in 0, not decided in 0." in twice.sentences()[0]


def test_the_page_says_which_margin_was_declared_before_the_first_run(tmp_path: Path):
    comparison: Comparison = replace(write_comparison(tmp_path, {"lif": LIF[:2], "clif": LIF[:2]}), margin=0.005)
    comparison.write(tmp_path)
    page = write_report(tmp_path).read_text()
    assert "primary metric is test accuracy; the margin is 0.5 percentage points;" in page


def test_margin_and_maximum_of_the_python_call_are_checked_before_anything_runs(tmp_path: Path):
    for options, message in (
        ({"margin": 0.0}, "margin: expected a fraction between 0 and 1, found 0.0"),
        ({"margin": 2}, "found 2. Half a point is 0.005"),
        ({"max_epochs": 8}, "max_epochs: expected epochs='auto' with it"),
    ):
        with pytest.raises(ConfigError, match=message):
            compare("gestures-small", out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
