"""What a comparison of several arms and settings says, and never leaves unsaid."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import CLASSES, CONFIG, make_cache, write_comparison_runs

from pipeline.config.run_config import override
from preprocess.errors import RunError
from preprocess.files import write_json, write_lines
from tune.comparison.arms import Setting, exchanged_arm, neuron_arm
from tune.comparison.comparison_plan import Comparison, compare_neurons, read_comparison
from tune.comparison.comparison_tables import (
    accuracy_table,
    csv_text,
    difference_table,
    equal_cost_table,
    seed_table,
    tables,
)
from tune.comparison.conclusions import Conclusion, conclude, count_arms, seeds_warning
from tune.comparison.convergence.convergence_table import convergence_csv
from tune.comparison.equal_cost import accuracies_at_equal_cost
from tune.comparison.figures.overview_figures import overview_figures
from tune.comparison.planned_runs import plan_lines
from tune.comparison.run_comparison import compare, write_conclusion
from tune.comparison.setting_axes import number_axes
from tune.report import write_report
from tune.stats.bootstrap import Bootstrap, bootstrap_accuracy
from tune.stats.holm import holm
from tune.stats.sign_flip import sign_flip_p
from tune.stats.summary import Summary, summarise
from tune.trials.ledger import Ledger

RNG = np.random.default_rng(4)


def over_t(*timesteps: int) -> tuple[Setting, ...]:
    return tuple(
        Setting(f"T = {t}", override(CONFIG, {"binning.timesteps": t}), {"binning.timesteps": t}) for t in timesteps
    )


def made(
    folder: Path,
    settings: tuple[Setting, ...],
    counts: dict[str, list[list[int | None]]],
    cause: str = "its process died",
) -> Conclusion:
    """Arms' right answers, a list for each setting."""
    seeds = tuple(range(7, 7 + len(next(iter(counts.values()))[0])))
    comparison = Comparison("x", settings, tuple(map(neuron_arm, counts)), seeds, folder / "cache").declare(0)
    correct = {(setting.name, arm): counts[arm][k] for k, setting in enumerate(settings) for arm in counts}
    write_comparison_runs(folder, comparison, correct, cause=cause)
    return conclude(comparison, folder)


SIX = [[30, 29, 31, 30, 28, 30]]


def test_several_neurons_are_corrected_by_holm(tmp_path: Path):
    better = [[count + 2 for count in SIX[0]]]
    conclusion = made(tmp_path, (Setting("", CONFIG),), {"lif": SIX, "clif": better, "plif": SIX, "klif": SIX})
    (result,) = conclusion.results
    raw = [difference.p for difference in result.differences]
    assert raw[0] == sign_flip_p([0.05] * 6) == pytest.approx(2 / 64)
    adjusted = [conclusion.adjusted(result, difference) for difference in result.differences]
    assert adjusted == holm(raw) and adjusted[0] == pytest.approx(3 * 2 / 64)
    said = conclusion.sentences()[0]
    assert "sign-flip p = 0.031, 0.094 with Holm's correction for 3 differences" in said
    assert said.endswith("no significant difference; with so few seeds none could be significant.")
    assert seeds_warning(6, 3) + "." in conclusion.sentences()


def test_five_neurons_need_eight_seeds_and_the_plan_says_so(tmp_path: Path):
    assert seeds_warning(8, 5) == "" and "needs at least 8 seeds (--seeds 8)" in seeds_warning(7, 5)
    assert "times 5 by Holm's correction for 5 differences" in seeds_warning(6, 5)
    comparison = compare_neurons("x", CONFIG, ["lif", "clif", "plif", "klif", "if", "relu"], range(6), tmp_path)
    assert plan_lines(comparison, tmp_path)[1] == seeds_warning(6, 5)


def test_a_run_that_diverged_counts_as_chance_and_is_counted(tmp_path: Path):
    cause = "runs/x: expected a finite loss, found nan at step 3 of epoch 2"
    counts = {"lif": [[30, None, 31]], "clif": [[31, 31, 33]]}
    conclusion = made(tmp_path, (Setting("", CONFIG),), counts, cause)
    figures = conclusion.results[0].arms["lif"]
    assert figures.accuracy == {7: 30 / 40, 8: 1 / len(CLASSES), 9: 31 / 40} and figures.diverged == (8,)
    assert conclusion.errors == ()
    assert accuracy_table(conclusion).rows[0][-2] == "3: 7–9; diverged 8"
    # It never reaches an accuracy, and counts with all of its epochs in the test of the speed of learning.
    rows = [row for row in csv.DictReader(convergence_csv(conclusion).splitlines()) if row["converged"] == ""]
    (row,) = [row for row in rows if row["reached_accuracy"] == "false"]
    assert (row["neuron"], row["seed"], float(row["epochs_to_accuracy"])) == ("lif", "8", CONFIG.schedule.epochs)
    assert "Diverged runs, which count with chance accuracy: LIF 1." in conclusion.sentences()
    assert "8" in csv_text(conclusion).splitlines()[1].split(",")


def test_a_single_run_far_from_the_others_is_named(tmp_path: Path):
    counts = {"lif": [[30, 31, 30], [30, 25, 20]], "clif": [[31, 20, 30], [26, 26, 29]]}
    found = [said for said in made(tmp_path, over_t(2, 4), counts).sentences() if "about this run" in said]
    assert found == [
        "T = 2: CLIF reached 50.0 % with seed 8, and 75.0 to 77.5 % with the others: its mean, and every difference "
        "from it, are about this run. To see whether batch norm's running average is the cause: spikeloom analyse "
        "RUN_DIR batch-norm"
    ]


def test_energy_is_that_of_the_test_samples_where_it_was_counted_there(tmp_path: Path):
    conclusion = made(tmp_path, (Setting("", CONFIG),), {"lif": [[30, 30]], "clif": [[31, 31]]})
    comparison = conclusion.comparison
    steps = {"macs_per_step": 1.0, "acs_per_step": 1.0, "timesteps": 2.0, "per_step_uj": 3.5}
    for config in comparison.configs()[::2]:
        path = Ledger(tmp_path).trial_folder(config) / "result.json"
        write_json(path, json.loads(path.read_text()) | {"energy": steps | {"per_inference_uj": 7.0}})
    assert accuracy_table(conclude(comparison, tmp_path)).rows[0][4] == "7 ± 0"


def test_a_run_that_failed_otherwise_is_missing_and_in_no_mean(tmp_path: Path):
    conclusion = made(tmp_path, (Setting("", CONFIG),), {"lif": [[30, None, 31]], "clif": [[31, 31, 33]]})
    assert list(conclusion.results[0].arms["lif"].accuracy) == [7, 9]
    assert conclusion.errors == ("LIF seed 8: failed: its process died",)


def test_many_settings_are_counted_and_averaged_by_seed(tmp_path: Path):
    settings = over_t(2, 3, 4, 6, 8)
    lif = [[30, 30, 30, 30, 30, 30]] * 5
    clif = [[32, 32, 31, 33, 32, 32], [31] * 6, [32] * 6, [29] * 6, [30] * 6]
    conclusion = made(tmp_path, settings, {"lif": lif, "clif": clif})
    said = conclusion.sentences()[0]
    assert said.startswith(
        "CLIF − LIF is between −2.50 and +5.00 percentage points in 5 settings: positive in 3 (significantly in 0), "
        "negative in 1 (significantly in 0), by Holm-corrected sign-flip tests. Averaged over all settings: +2.00 "
        "percentage points over 6 seeds"
    )
    assert "sign-flip p = 0.031" in said
    assert conclusion.overall("clif")[7] == pytest.approx((2 + 1 + 2 - 1 + 0) / 5 / 40)


def test_a_seed_that_one_setting_lacks_is_in_no_average_over_settings(tmp_path: Path):
    conclusion = made(tmp_path, over_t(2, 4), {"lif": [[30, 30], [30, None]], "clif": [[31, 31], [31, 31]]})
    assert list(conclusion.overall("clif")) == [7]


def test_a_report_without_the_controls_says_so_and_with_them_does_not(tmp_path: Path):
    pair = made(tmp_path / "a", (Setting("", CONFIG),), {"lif": SIX, "clif": SIX})
    assert any("the design `controls` can." in line for line in pair.sentences())
    neurons = ("lif", "clif", "lif-reset1.8", "clif-detached")
    four = made(tmp_path / "b", (Setting("", CONFIG),), dict.fromkeys(neurons, SIX))
    assert not any("the design `controls`" in line for line in four.sentences())


def test_what_neurons_cannot_have_equal_is_listed(tmp_path: Path):
    said = made(tmp_path, (Setting("", CONFIG),), {"lif": SIX, "plif": SIX, "relu": SIX}).sentences()
    line = next(line for line in said if line.startswith("Differences between neurons that cannot be equalised: "))
    assert "PLIF: its time constant is learnt" in line and "ReLU: it is not a spiking neuron: each frame passes" in line


def test_seeds_that_were_added_after_runs_were_done_are_told(tmp_path: Path):
    conclusion = made(tmp_path, (Setting("", CONFIG),), {"lif": SIX, "clif": SIX})
    comparison = replace(conclusion.comparison, seeds=(*conclusion.comparison.seeds, 13)).declare(12)
    comparison.write(tmp_path)
    found = read_comparison(tmp_path)
    assert found.declared == comparison.declared and len(found.declared) == 2
    assert found.declare(12) is found
    said = " ".join(conclude(found, tmp_path).sentences())
    assert "declared with 6 seeds of 2 neurons; more were added after 12 runs had finished." in said
    asked = json.loads((tmp_path / "comparison.json").read_text())
    assert asked["primary_metric"] == "test_accuracy" and "declared in advance" in asked["stopping_rule"]


def test_the_smallest_difference_that_the_design_finds_is_told(tmp_path: Path):
    spread = [[31, 28, 33, 30, 29, 30]]
    conclusion = made(tmp_path, (Setting("", CONFIG),), {"lif": SIX, "clif": spread})
    value = conclusion.results[0].differences[0].detectable(1)
    assert value is not None and f"a true difference of at least {100 * value:.1f} percentage points" in " ".join(
        conclusion.sentences()
    )


def test_settings_of_numbers_are_an_axis_with_figures_and_readings(tmp_path: Path):
    settings = over_t(2, 4, 8)
    counts = {"lif": [[28, 28], [30, 31], [33, 33]], "clif": [[29, 29], [32, 32], [34, 33]]}
    conclusion = made(tmp_path, settings, counts)
    assert number_axes(conclusion) == ["binning.timesteps"]
    assert set(overview_figures(conclusion)) == {"differences", "accuracy", "gap"}
    along = [reading for reading in accuracies_at_equal_cost(conclusion) if reading.where == "emulated-gestures"]
    readings = {reading.quantity: reading for reading in along}
    # Of made-up runs energy grows with T, and firing rates are all the same.
    assert set(readings) == {"energy"}
    # 4 µJ a step and the length of the neuron's name: 11 to 35 for LIF, 12 to 36 for CLIF; the middle is 23.5.
    assert readings["energy"].at == "23.5 µJ"
    lif = np.interp(23.5, [11, 19, 35], [28 / 40, 30.5 / 40, 33 / 40])
    assert readings["energy"].accuracies["lif"] == pytest.approx(lif)
    table = equal_cost_table(conclusion, list(readings.values()))
    assert table.columns == ("setting", "equal cost", "value", "LIF, %", "CLIF, %")
    assert table.rows[0][3] == f"{100 * lif:.1f}"


def with_rates(conclusion: Conclusion, rates: dict[str, list[float]]) -> Conclusion:
    """Mean firing rates by arm, one for each setting."""
    results = []
    for k, result in enumerate(conclusion.results):
        rated = {name: replace(arm, firing_rate=Summary(rates[name][k], 0.0, 2)) for name, arm in result.arms.items()}
        results.append(replace(result, arms=rated))
    return replace(conclusion, results=tuple(results))


@pytest.mark.parametrize(
    ("clif", "read"),
    [
        ([0.09, 0.10, 0.12], True),
        # LIF's rises with T and CLIF's falls.
        ([0.12, 0.10, 0.09], True),
        # Between 0.09 and 0.11 lie T = 2 and T = 8: nothing is between them but T = 4, whose rate is another.
        ([0.09, 0.12, 0.11], False),
    ],
)
def test_a_cost_that_goes_up_and_down_along_t_is_not_read(tmp_path: Path, clif: list[float], read: bool):
    counts = {"lif": [[28, 28], [30, 31], [33, 33]], "clif": [[29, 29], [32, 32], [34, 33]]}
    conclusion = with_rates(made(tmp_path, over_t(2, 4, 8), counts), {"lif": [0.08, 0.09, 0.11], "clif": clif})
    along = [reading for reading in accuracies_at_equal_cost(conclusion) if reading.quantity == "firing rate"]
    assert bool(along) == read
    for reading in along:
        # From 0.09, the least of CLIF, to 0.11, the most of LIF.
        assert reading.at == "0.100"
        assert reading.accuracies["lif"] == pytest.approx((30.5 / 40 + 33 / 40) / 2)
        assert reading.accuracies["clif"] == pytest.approx(32 / 40)
    note = equal_cost_table(conclusion, accuracies_at_equal_cost(conclusion)).note
    assert note.endswith("Costs that are not monotonic in T for every neuron are left out.")


def test_the_csv_has_the_interval_that_the_table_shows_and_the_bootstrap(tmp_path: Path):
    conclusion = made(tmp_path, (Setting("", CONFIG),), {"lif": SIX, "clif": SIX})
    (result,) = conclusion.results
    drawn = bootstrap_accuracy(RNG.random((6, 40)) < 0.7)
    arms = {name: replace(figures, bootstrap=drawn) for name, figures in result.arms.items()}
    conclusion = replace(conclusion, results=(replace(result, arms=arms),))
    rows = list(csv.DictReader(csv_text(conclusion).splitlines()))
    for row, words in zip(rows[:2], accuracy_table(conclusion).rows[:2], strict=True):
        assert words[2] == " to ".join(f"{100 * float(row[f'crossed_{end}']):.1f}" for end in ("low", "high"))
        assert (float(row["bootstrap_low"]), float(row["bootstrap_high"])) == drawn.interval


@pytest.mark.slow
def test_two_axes_are_maps(tmp_path: Path):
    settings = tuple(
        Setting(
            f"{t}, {tau}",
            override(CONFIG, {"binning.timesteps": t, "neuron.tau": tau}),
            {"binning.timesteps": t, "neuron.tau": tau},
        )
        for t in (2, 4)
        for tau in (1.5, 2.0)
    )
    counts = [[30, 31], [29, 30], [32, 31], [None, None]]
    conclusion = made(tmp_path, settings, {"lif": counts, "clif": counts})
    assert set(overview_figures(conclusion)) == {"differences", "map"}
    write_conclusion(conclusion.comparison, tmp_path)
    assert {"map.svg", "differences.png"} <= {path.name for path in (tmp_path / "figures").iterdir()}
    assert ">missing<" in (tmp_path / "figures" / "map.svg").read_text()


def test_tables_of_several_settings_name_them(tmp_path: Path):
    conclusion = made(tmp_path, over_t(2, 4), {"lif": [[30, 31], [30, 31]], "clif": [[31, 31], [31, None]]})
    assert [row[:2] for row in accuracy_table(conclusion).rows] == [
        ("T = 2", "LIF"), ("T = 2", "CLIF"), ("T = 2", "CLIF − LIF"),
        ("T = 4", "LIF"), ("T = 4", "CLIF"), ("T = 4", "CLIF − LIF"),
    ]  # fmt: skip
    assert difference_table(conclusion).rows[1][0] == "T = 4" and difference_table(conclusion).rows[1][-1] == "1"
    assert seed_table(conclusion, conclusion.results[1]).rows[1][2:] == ("missing", "missing")
    assert all(len(row) == len(table.columns) == len(table.align) for table in tables(conclusion) for row in table.rows)


def test_a_page_of_many_settings_is_made(tmp_path: Path):
    made(tmp_path, over_t(2, 3, 4, 6, 8), {"lif": [[30, 31]] * 5, "clif": [[31, 31]] * 5})
    page = write_report(tmp_path).read_text()
    assert "5 settings" in page and "Emulated data" in page


def test_comparisons_of_other_settings_or_tuning_are_refused_with_the_difference(tmp_path: Path):
    conclusion = made(tmp_path, over_t(2, 4), {"lif": [[30], [30]], "clif": [[31], [31]]})
    comparison = conclusion.comparison
    two, four = over_t(2, 4)
    other = two, replace(four, config=override(four.config, {"batch_size": 8}))
    with pytest.raises(RunError, match="expected a comparison with in T = 4: batch_size = 8, found 4"):
        compare(replace(comparison, settings=other), tmp_path)
    with pytest.raises(RunError, match="the settings T = 2, T = 8, found the settings T = 2, T = 4"):
        compare(replace(comparison, settings=over_t(2, 8)), tmp_path)
    tuning = replace(comparison.tuning, space=("neuron.tau=1.5,2",))
    with pytest.raises(RunError, match=r"with tuning neuron.tau=1.5,2 .*, found tuning none \(all trials\)"):
        compare(replace(comparison, tuning=tuning), tmp_path)


def test_a_comparison_of_an_earlier_version_says_so(tmp_path: Path):
    write_json(tmp_path / "comparison.json", {"name": "x", "neurons": ["lif", "clif"], "config": {}})
    with pytest.raises(RunError, match=r"expected version 2, found 1\. Start the comparison again"):
        read_comparison(tmp_path)


def test_training_time_is_read_where_the_quickest_has_finished(tmp_path: Path):
    conclusion = made(tmp_path, (Setting("", CONFIG),), {"lif": [[30, 30]], "clif": [[31, 31]]})
    comparison = conclusion.comparison
    for seed in comparison.seeds:
        # CLIF takes twice as long, so that by then it has had half of its epochs.
        folder = Ledger(tmp_path).trial_folder(comparison.config_of(comparison.settings[0], comparison.arms[1], seed))
        write_lines(folder / "timings.jsonl", [{"epoch": k + 1, "epoch_s": 5.0, "ended": 0.0} for k in range(5)])
        rows = [{"epoch": k + 1, "train_loss": 1.0, "train_accuracy": 0.1 * (k + 1)} for k in range(5)]
        write_lines(folder / "metrics.jsonl", rows)
    (reading,) = accuracies_at_equal_cost(conclude(comparison, tmp_path))
    assert (reading.quantity, reading.at) == ("training time (train accuracy)", "12 s")
    assert reading.accuracies["clif"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("groups", "worth", "said"),
    [
        (20, [25.2, 38.0], ", ALIKE25 to 38 independent samples. The bootstrap resamples groups."),
        (20, [25.2, 25.4], ", ALIKE25 independent samples. The bootstrap resamples groups."),
        # Without more similarity within groups than between them, the estimate exceeds the 40 samples that there are.
        (5, [25.2, 61.0], ". The bootstrap resamples groups; with so few groups its intervals are only rough."),
        (20, [None, None], ". The bootstrap resamples groups."),
        (
            1,
            [None, None],
            ". With a single group, the bootstrap resamples seeds alone, and other intervals over samples are –.",
        ),
    ],
)
def test_samples_of_groups_are_told_in_a_sentence_for_each_data_set(
    tmp_path: Path, groups: int, worth: list[float | None], said: str
):
    conclusion = made(tmp_path, over_t(4, 8), {"lif": [[30, 31]] * 2, "clif": [[31, 33]] * 2})
    results = tuple(
        replace(result, groups=groups, independent_samples=one)
        for result, one in zip(conclusion.results, worth, strict=True)
    )
    alike = "with about as much information as "
    told = [line for line in replace(conclusion, results=results).sentences() if line.startswith("The test samples of")]
    counted = "1 group" if groups == 1 else f"{groups} groups"
    form = f"The test samples of emulated-gestures form {counted} of related samples"
    assert told == [f"{form}{said.replace('ALIKE', alike)}"]


def test_equal_values_have_no_spread():
    assert summarise([17.9] * 6) == Summary(pytest.approx(17.9), 0.0, 6)


def crossed(conclusion: Conclusion, low: float, high: float) -> Conclusion:
    """The same, with this interval over seeds and test samples."""
    (result,) = conclusion.results
    (difference,) = result.differences
    drawn = Bootstrap(0.05, (low, high), (low, high), 0.01, 0.01, 0.5, 0.5)
    return replace(conclusion, results=(replace(result, differences=(replace(difference, bootstrap=drawn),)),))


def test_who_is_ahead_by_seeds_alone_is_ahead_on_these_test_samples(tmp_path: Path):
    better = [[count + 2 for count in SIX[0]]]
    conclusion = made(tmp_path, (Setting("", CONFIG),), {"lif": SIX, "clif": better})
    sure, unsure = crossed(conclusion, 0.01, 0.09).sentences()[0], crossed(conclusion, -0.042, 0.075).sentences()[0]
    assert sure.endswith("sign-flip p = 0.031): CLIF is significantly better in this setting.")
    assert "(95 % interval −4.20 to +7.50 over seeds and test samples; sign-flip p = 0.031)" in unsure
    assert unsure.endswith(
        "CLIF is significantly better on this test set, but the interval over test samples includes zero, so this may "
        "not generalise."
    )


def test_every_later_addition_is_told(tmp_path: Path):
    conclusion = made(tmp_path, (Setting("", CONFIG),), {"lif": SIX, "clif": SIX})
    first = conclusion.comparison.declared[0]
    declared = (first, first | {"runs_done": 12}, first | {"runs_done": 0}, first | {"runs_done": 20})
    said = replace(conclusion, comparison=replace(conclusion.comparison, declared=declared)).sentences()
    told = "declared with 6 seeds of 2 neurons; more were added after 12 runs and 20 runs had finished."
    assert any(told in line for line in said)


def test_a_test_sample_is_worth_so_much_in_each_data_set(tmp_path: Path):
    settings = tuple(
        Setting(name, override(CONFIG, {"dataset.name": name}), {"dataset.name": name})
        for name in ("emulated-cue-lag0", "emulated-cue-lag50")
    )
    said = made(tmp_path, settings, {"lif": [[30, 31]] * 2, "clif": [[31, 33]] * 2}).sentences()
    names = "emulated-cue-lag0, emulated-cue-lag50"
    assert f"Resolution on {names}: one test sample = 2.50 percentage points (40 test samples)." in said


def test_neurons_averaged_over_settings_are_corrected_and_never_over_data_sets(tmp_path: Path):
    better = [[32, 32, 33, 31, 30, 32], SIX[0], SIX[0]]
    counts = {"lif": SIX * 3, "clif": better, "plif": SIX * 3}
    conclusion = made(tmp_path / "t", over_t(2, 4, 8), counts)
    assert "sign-flip p = 0.062 with Holm's correction for 2 neurons)" in conclusion.sentences()[0]
    names = ("n-mnist", "emulated-digits", "emulated-cue-lag0")
    settings = tuple(Setting(name, override(CONFIG, {"dataset.name": name}), {"x": name}) for name in names)
    assert "Averaged" not in " ".join(made(tmp_path / "d", settings, counts).sentences())


def test_neurons_that_are_exchanged_are_not_counted_as_neurons():
    arms = (*map(neuron_arm, ("lif", "clif")), exchanged_arm("lif", "clif", 2), exchanged_arm("lif", "clif", 4))
    assert count_arms(arms) == "2 neurons and 2 exchanges" and count_arms(arms[:3]) == "2 neurons and 1 exchange"
    assert count_arms(arms[:2]) == "2 neurons"


def test_where_every_run_diverged_the_data_set_tells_what_chance_is(tmp_path: Path):
    comparison = compare_neurons("x", CONFIG, ("lif", "clif"), (7, 8), make_cache(tmp_path))
    cause = "runs/x: expected a finite loss, found nan at step 3 of epoch 2"
    counts: dict[tuple[str, str], list[int | None]] = {("", "lif"): [None, None], ("", "clif"): [None, None]}
    write_comparison_runs(tmp_path / "out", comparison, counts, cause=cause)
    conclusion = conclude(comparison, tmp_path / "out")
    figures = conclusion.results[0].arms["clif"]
    assert figures.accuracy == {7: 1 / len(CLASSES), 8: 1 / len(CLASSES)} and figures.diverged == (7, 8)
    assert "Diverged runs, which count with chance accuracy: LIF 2, CLIF 2." in conclusion.sentences()


def test_no_accuracy_lies_beyond_all_or_nothing(tmp_path: Path):
    figures = made(tmp_path, (Setting("", CONFIG),), {"lif": SIX, "clif": SIX}).results[0].arms["lif"]
    wide = Bootstrap(0.9, (0.5, 1.0), (0.45, 1.257), 0.1, 0.1, 0.5, 0.5)
    assert replace(figures, bootstrap=wide).crossed_interval == (0.45, 1.0)
    assert replace(figures, bootstrap=replace(wide, t_interval=(-0.2, 0.4))).crossed_interval == (0.0, 0.4)
