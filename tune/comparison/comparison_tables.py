"""A comparison's tables: results of each arm, differences with their tests, seeds, and accuracy at equal cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tune.comparison.captions import data_title
from tune.comparison.conclusions import Conclusion
from tune.comparison.convergence.convergence_table import (
    converged_count,
    convergence_table,
    has_speed,
    speed_seed_table,
    speed_table,
)
from tune.comparison.convergence.learning_speed import (
    SpeedDifference,
    censored_seeds,
    epochs_summary,
    samples_summary,
    speed_differences,
)
from tune.comparison.equal_cost import AccuraciesAtCost, accuracies_at_equal_cost
from tune.comparison.number_cells import MISSING, ends, mean_std
from tune.comparison.resampling.split_notes import TABLE_NOTE
from tune.comparison.setting_analysis import ArmResults, Difference, SettingResult
from tune.comparison.setting_axes import number_axes
from tune.rendering.labels import format_seeds, short_name, short_value
from tune.rendering.table import POINTS, Table, format_percent, number
from tune.stats.bootstrap import Bootstrap
from tune.stats.sign_flip import sign_flip_p
from tune.stats.summary import Summary, summarise, t_interval

_CSV_COLUMNS = (
    "row", "setting", "neuron", "minus", "dataset", "emulated", "split", "timesteps", "selection", "network", "epochs",
    "seeds", "missing_seeds", "diverged_seeds", "test_samples", "test_accuracy_mean", "test_accuracy_std",
    "interval_low", "interval_high", "crossed_low", "crossed_high", "bootstrap_low", "bootstrap_high", "sign_flip_p",
    "holm_p", "effect_size", "curve_area_mean", "curve_area_std",
    "firing_rate_mean", "firing_rate_std", "energy_uj_mean", "energy_uj_std", "seconds_mean", "seconds_std",
    "converged_runs", "unconverged_seeds", "margin", "equivalence_p", "equivalence_holm_p", "verdict",
    "speed_at", "epochs_to_accuracy_mean", "epochs_to_accuracy_std", "samples_to_accuracy_mean",
    "samples_to_accuracy_std", "not_reached_seeds", "speed_sign_flip_p", "speed_holm_p",
)  # fmt: skip

_PLACE = ("data set", "split", "T", "seeds", "selection")


def tables(conclusion: Conclusion) -> list[Table]:
    """Every table, the most important first."""
    found = [accuracy_table(conclusion), difference_table(conclusion)]
    if any(figures.convergence for result in conclusion.results for figures in result.arms.values()):
        found.append(convergence_table(conclusion))
    if has_speed(conclusion.results):
        found += [speed_table(conclusion), speed_seed_table(conclusion)]
    found += [curve_table(conclusion)] if any(_areas(conclusion)) else []
    found += [seed_table(conclusion, result) for result in conclusion.results if result.test_samples]
    matches = accuracies_at_equal_cost(conclusion)
    if matches:
        found.append(equal_cost_table(conclusion, matches))
    if any(own for result in conclusion.results for own in result.tuned.values()):
        found.append(tuned_table(conclusion))
    return found


def accuracy_table(conclusion: Conclusion) -> Table:
    """A row for each arm and each difference in each setting, with the data that it was measured on."""
    several = len(conclusion.results) > 1
    columns: tuple[str, ...] = (
        "neuron", "test accuracy, %", "95 % interval", "firing rate", "energy, µJ", "training, s", "converged", *_PLACE
    )  # fmt: skip
    rows = []
    for result in conclusion.results:
        name = (result.setting.name,) if several else ()
        rows += [(*name, *_arm_row(conclusion, result, arm_results)) for arm_results in result.arms.values()]
        rows += [(*name, *_difference_row(conclusion, result, difference)) for difference in result.differences]
    note = (
        "Mean ± standard deviation over seeds; differences are paired by seed, in percentage points. Intervals are "
        "Student's t over seeds and test samples (over groups of related samples where there are any). Energy is "
        "estimated per inference from operation counts, not measured. Converged: the runs that more epochs would "
        "hardly improve; see the table of convergence."
    ) + _splits_note(conclusion)
    if several:
        columns = ("setting", *columns)
    title = f"{'Emulated data: ' if conclusion.emulated else ''}{conclusion.title()}"
    return Table(title, columns, tuple(rows), "l" * several + "lrrrrrrllrll", note)


def _arm_row(conclusion: Conclusion, result: SettingResult, arm_results: ArmResults) -> tuple[str, ...]:
    return (
        arm_results.arm.label,
        mean_std(arm_results.summary, 100, ".1f"),
        ends(arm_results.crossed_interval, ".1f"),
        mean_std(arm_results.firing_rate, 1, ".3f"),
        mean_std(arm_results.energy_uj, 1, ".3g"),
        mean_std(arm_results.seconds, 1, ".0f"),
        converged_count(arm_results),
        *_place(conclusion, result, list(arm_results.accuracy), arm_results.diverged),
    )


def _difference_row(conclusion: Conclusion, result: SettingResult, difference: Difference) -> tuple[str, ...]:
    return (
        difference.label,
        mean_std(summarise(difference.values), 100, POINTS),
        ends(difference.crossed_interval),
        "",
        "",
        "",
        "",
        *_place(conclusion, result, list(difference.by_seed)),
    )


def _place(
    conclusion: Conclusion, result: SettingResult, there: Sequence[int], diverged: Sequence[int] = ()
) -> tuple[str, ...]:
    config = result.config
    steps = config.binning.steps_title.removeprefix("T = ")
    return (
        result.dataset,
        result.split_title,
        steps,
        _seeds(conclusion, there, diverged),
        result.selection,
    )


def _seeds(conclusion: Conclusion, there: Sequence[int], diverged: Sequence[int]) -> str:
    """The seeds with a result, and those that are missing or diverged."""
    missing = [seed for seed in conclusion.comparison.seeds if seed not in there]
    text = f"{len(there)}: {format_seeds(there)}" if there else "0"
    text += f"; diverged {format_seeds(diverged)}" if diverged else ""
    return f"{text}; missing {format_seeds(missing)}" if missing else text


def difference_table(conclusion: Conclusion) -> Table:
    """Every difference with its intervals, tests, effect size and the smallest detectable difference."""
    rows = []
    for result, difference in conclusion.differences:
        adjusted, detectable = conclusion.adjusted(result, difference), difference.detectable(conclusion.family)
        effect = difference.effect
        share = None if difference.bootstrap is None else difference.bootstrap.seed_share
        rows.append(
            (
                *((result.setting.name,) if len(conclusion.results) > 1 else ()),
                difference.label,
                mean_std(summarise(difference.values), 100, POINTS),
                ends(difference.interval),
                ends(difference.crossed_interval),
                ends(None if difference.bootstrap is None else difference.bootstrap.interval),
                "–" if difference.p is None else f"{difference.p:.2g}",
                "–" if adjusted is None else f"{adjusted:.2g}",
                "–" if effect is None else number(effect, "+.1f"),
                "–" if share is None else f"{100 * share:.0f} %",
                "–" if detectable is None else "> 100" if detectable > 1 else f"{100 * detectable:.1f}",
                str(len(difference.by_seed)),
            )
        )
    columns = (
        "difference", "mean, percentage points", "95 % interval (seeds)", "95 % interval (seeds and samples)",
        "95 % interval (bootstrap)", "sign-flip p", "Holm p", "effect size d_z", "seed share",
        "detectable, percentage points", "seeds",
    )  # fmt: skip
    several = len(conclusion.results) > 1
    holm = f"Holm's correction covers all {conclusion.family} declared differences. " if conclusion.family > 1 else ""
    note = (
        "Differences are paired by seed, in percentage points. The intervals are Student's t over seeds, Student's t "
        "over seeds and test samples (over groups of related samples where there are any), and a bootstrap over seeds "
        f"and test samples, which is too narrow below six seeds. {holm}Effect size d_z: mean / standard deviation of "
        "the paired differences, corrected for few seeds. Seed share: the share of the variance that more seeds would "
        "reduce, and more test samples would not. Detectable: the smallest true difference that the sign-flip test "
        "detects with 80 % power at this spread; – where the number of seeds is too small for any."
    ) + _splits_note(conclusion)
    headers = ("setting", *columns) if several else columns
    title = data_title("Paired differences", conclusion.results)
    return Table(title, headers, tuple(rows), "l" * several + "lrrrrrrrrrr", note)


def _splits_note(conclusion: Conclusion) -> str:
    return TABLE_NOTE if any(result.draws for result in conclusion.results) else ""


def seed_table(conclusion: Conclusion, result: SettingResult) -> Table:
    """Test accuracy by seed, then its mean and interval; missing runs are shown as missing."""
    columns = [(f"{arm_results.arm.label}, %", arm_results.accuracy, ".1f") for arm_results in result.arms.values()]
    columns += [
        (f"{difference.label}, percentage points", difference.by_seed, POINTS) for difference in result.differences
    ]
    rows = []
    for seed in conclusion.comparison.seeds:
        cells = (number(100 * by_seed[seed], form) if seed in by_seed else MISSING for _, by_seed, form in columns)
        rows.append((str(seed), *cells))
    values = [(list(by_seed.values()), form) for _, by_seed, form in columns]
    rows.append(("mean ± std", *(mean_std(summarise(column), 100, form) for column, form in values)))
    rows.append(("95 % interval", *(ends(t_interval(column), form) for column, form in values)))
    where = f": {result.setting.name}" if result.setting.name else ""
    title = f"{data_title(f'Test accuracy by seed{where}', [result])}, {result.selection}"
    note = "Differences are in percentage points. Intervals are Student's t over seeds and may extend beyond 100 %."
    headers = ("seed", *(name for name, _, _ in columns))
    return Table(title, headers, tuple(rows), "l" + "r" * len(columns), note, summary=2)


def curve_table(conclusion: Conclusion) -> Table:
    """The mean accuracy over the epochs, which is higher for the faster of two learning curves with the same end."""
    rows = tuple(
        (
            result.setting.name or result.dataset,
            *(mean_std(arm_results.curve_area, 100, ".1f") for arm_results in result.arms.values()),
        )
        for result in conclusion.results
    )
    labels = [f"{arm.label}, %" for arm in conclusion.comparison.arms]
    note = (
        "The accuracy after each epoch, averaged over the epochs: on validation samples if each epoch measured them, "
        "otherwise on test samples, otherwise on training samples."
    )
    title = data_title("Mean accuracy over the epochs", conclusion.results)
    return Table(title, ("setting", *labels), rows, "l" + "r" * len(labels), note)


def _areas(conclusion: Conclusion) -> Iterator[Summary | None]:
    return (arm_results.curve_area for result in conclusion.results for arm_results in result.arms.values())


def equal_cost_table(conclusion: Conclusion, matches: Sequence[AccuraciesAtCost]) -> Table:
    """Accuracies at equal cost instead of at equal settings."""
    labels = [arm.label for arm in conclusion.comparison.arms]
    rows = tuple(
        (match.where, match.quantity, match.at, *(format_percent(value) for value in match.accuracies.values()))
        for match in matches
    )
    note = (
        "Interpolated linearly between the measured points, in the middle of the range of costs that all neurons "
        "cover; for training time, between epochs, at the time when the fastest neuron has finished."
    )
    axes = number_axes(conclusion)
    if len(axes) == 1:
        note += f" Costs that are not monotonic in {short_name(axes[0])} for every neuron are left out."
    columns = ("setting", "equal cost", "value", *(f"{label}, %" for label in labels))
    title = data_title("Accuracy at equal cost", conclusion.results)
    return Table(title, columns, rows, "llr" + "r" * len(labels), note)


def tuned_table(conclusion: Conclusion) -> Table:
    """The values that were tuned for each arm in each setting."""
    fields = list(dict.fromkeys(path for result in conclusion.results for own in result.tuned.values() for path in own))
    rows = tuple(
        (
            result.setting.name or result.dataset,
            result.arms[name].arm.label,
            *(short_value(own[path]) if path in own else "–" for path in fields),
        )
        for result in conclusion.results
        for name, own in result.tuned.items()
    )
    columns = ("setting", "neuron", *map(short_name, fields))
    note = "Selected by validation accuracy; the compared runs were then trained with these values."
    title = data_title("Tuned for each neuron", conclusion.results)
    return Table(title, columns, rows, "ll" + "r" * len(fields), note)


def csv_text(conclusion: Conclusion) -> str:
    """The numbers of the tables as CSV: accuracies as fractions, missing values as empty cells."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in conclusion.results:
        writer.writerows(_csv_rows(conclusion, result))
    return buffer.getvalue()


def _csv_rows(conclusion: Conclusion, result: SettingResult) -> Iterator[dict[str, Any]]:
    for name, arm_results in result.arms.items():
        values: dict[str, Any] = {"row": "neuron", "neuron": name}
        values |= _csv_values(conclusion, result, arm_results.accuracy)
        values |= {"diverged_seeds": " ".join(map(str, arm_results.diverged))} | _csv_bootstrap(arm_results.bootstrap)
        for column in ("curve_area", "firing_rate", "energy_uj", "seconds"):
            values |= _csv_summary(column, getattr(arm_results, column))
        yield values | _csv_training(conclusion, result, arm_results)
    speeds = speed_differences(result)
    for difference, speed in zip(result.differences, speeds, strict=True):
        values = {"row": "difference", "neuron": difference.arm.name, "minus": difference.minus.name}
        values |= _csv_values(conclusion, result, difference.by_seed)
        values |= {"sign_flip_p": sign_flip_p(difference.values), "effect_size": difference.effect}
        values["holm_p"] = conclusion.adjusted(result, difference)
        values |= _csv_margin(conclusion, result, difference) | _csv_speed(conclusion, result, speed)
        yield values | _csv_bootstrap(difference.bootstrap)


def _csv_training(conclusion: Conclusion, result: SettingResult, arm_results: ArmResults) -> dict[str, Any]:
    """Convergence of an arm's runs, and their speed of learning."""
    name = arm_results.arm.name
    return {
        "converged_runs": len(arm_results.convergence) - len(arm_results.unconverged),
        "unconverged_seeds": " ".join(map(str, arm_results.unconverged)),
        "speed_at": conclusion.comparison.speed_at,
        "not_reached_seeds": " ".join(map(str, censored_seeds(result, name))),
        **_csv_summary("epochs_to_accuracy", epochs_summary(result, name)),
        **_csv_summary("samples_to_accuracy", samples_summary(result, name)),
    }


def _csv_speed(conclusion: Conclusion, result: SettingResult, speed: SpeedDifference) -> dict[str, Any]:
    return {
        "speed_at": conclusion.comparison.speed_at,
        "speed_sign_flip_p": speed.p,
        "speed_holm_p": conclusion.speed_p[result.setting.name, speed.arm.name],
        **_csv_summary("epochs_to_accuracy", summarise(speed.values)),
    }


def _csv_margin(conclusion: Conclusion, result: SettingResult, difference: Difference) -> dict[str, Any]:
    margin = conclusion.comparison.margin
    if margin is None:
        return {}
    verdict = conclusion.margin_verdict(result, difference)
    return {
        "margin": margin,
        "equivalence_p": difference.equivalence_p(margin),
        "equivalence_holm_p": None if verdict is None else verdict.equivalence_p,
        "verdict": None if verdict is None else verdict.decision,
    }


def _csv_values(conclusion: Conclusion, result: SettingResult, by_seed: Mapping[int, float]) -> dict[str, Any]:
    config = result.config
    low, high = t_interval(list(by_seed.values())) or (None, None)
    return {
        "setting": result.setting.name,
        "dataset": config.dataset.name,
        "emulated": str(result.emulated).lower(),
        "split": result.split_title,
        "timesteps": None if config.binning.varies else config.binning.timesteps,
        "selection": config.selection,
        "network": config.network.name,
        "epochs": config.schedule.epochs,
        "seeds": " ".join(str(seed) for seed in by_seed),
        "missing_seeds": " ".join(str(seed) for seed in conclusion.comparison.seeds if seed not in by_seed),
        "test_samples": result.test_samples,
        "interval_low": low,
        "interval_high": high,
        **_csv_summary("test_accuracy", summarise(list(by_seed.values()))),
    }


def _csv_summary(name: str, summary: Summary | None) -> dict[str, float | None]:
    mean, std = (summary.mean, summary.std) if summary else (None, None)
    return {f"{name}_mean": mean, f"{name}_std": std}


def _csv_bootstrap(bootstrap: Bootstrap | None) -> dict[str, float]:
    """The interval over seeds and samples that tables show, and that of the bootstrap."""
    found: dict[str, float] = {}
    if bootstrap is not None:
        found |= dict(zip(("bootstrap_low", "bootstrap_high"), bootstrap.interval, strict=True))
        found |= dict(zip(("crossed_low", "crossed_high"), bootstrap.t_interval or (), strict=False))
    return found
