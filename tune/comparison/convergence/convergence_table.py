"""Tables of convergence and of the speed of learning, and every run's convergence as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pipeline.analysis.convergence_rule import FEWEST_EPOCHS, FITTED, MOST_FALL, MOST_GAIN, Convergence
from tune.comparison.captions import data_title
from tune.comparison.convergence.learning_speed import (
    censored_seeds,
    epochs_summary,
    samples_summary,
    speed_differences,
)
from tune.comparison.number_cells import MISSING, ends, mean_std
from tune.comparison.setting_analysis import ArmResults, SettingResult
from tune.rendering.labels import format_seeds
from tune.rendering.table import Table, number
from tune.stats.summary import summarise, t_interval

if TYPE_CHECKING:
    from tune.comparison.conclusions import Conclusion

_CSV_COLUMNS = (
    "setting", "neuron", "seed", "converged", "reason", "epochs", "train_accuracy", "train_accuracy_change",
    "train_loss_change", "projected_gain", "train_test_gap", "fitted_epoch", "epochs_to_accuracy", "reached_accuracy",
)  # fmt: skip


def converged_count(figures: ArmResults) -> str:
    """Such as "7 of 8"; a dash if no run could be assessed."""
    runs = len(figures.convergence)
    return f"{runs - len(figures.unconverged)} of {runs}" if runs else "–"


def convergence_table(conclusion: Conclusion) -> Table:
    """A row for each arm in each setting: how many runs had converged, which had not and why, and by which numbers."""
    several = len(conclusion.results) > 1
    rows = [
        (
            *((result.setting.name,) if several else ()),
            figures.arm.label,
            str(result.config.schedule.last_epoch),
            converged_count(figures),
            _by_reason(figures),
            mean_std(summarise([found.accuracy for found in figures.convergence.values()]), 100, ".1f"),
            _mean(figures, "accuracy_change", 100, "+.1f"),
            _mean(figures, "loss_change", 1, "+.3f"),
            _mean(figures, "projected_gain", 100, "+.1f"),
            _mean(figures, "gap", 100, "+.1f"),
            _mean(figures, "fitted_epoch", 1, ".0f"),
        )
        for result in conclusion.results
        for figures in result.arms.values()
    ]
    columns = (
        "neuron", "epochs", "converged", "why (seeds)", "training accuracy, %", "change, points", "change of loss",
        "gain of twice the epochs, points", "gap to test, points", f"epoch of {100 * FITTED:.0f} %",
    )  # fmt: skip
    fitted, gain = f"{100 * FITTED:.0f} %", f"{100 * MOST_GAIN:g} percentage points"
    note = (
        "Means over seeds; changes, gains and gaps of accuracy in percentage points. Training accuracy and loss are "
        "those of the last quarter of the epochs; changes are from the quarter before. A run has converged if its "
        f"training accuracy is at least {fitted}, or if it has not fallen by more than {100 * MOST_FALL:g} points and "
        "twice as many epochs, with the schedule stretched to them, "
        f"would raise it by no more than {gain}. This gain is projected from the learning curve over the summed "
        "learning rate, because a cosine schedule makes every curve flat at its end; with --epochs auto, it is "
        f"measured against the run of half the epochs. Without one, runs of fewer than {FEWEST_EPOCHS} epochs can only "
        "be shown to have converged by fitting their samples; so can all runs that have hardly learned. "
        f"Epoch of {fitted}: the first, over "
        "the runs that reached it."
    )
    headers = ("setting", *columns) if several else columns
    title = data_title("Convergence", conclusion.results)
    return Table(title, headers, tuple(rows), "l" * several + "lrrl" + "r" * 6, note)


def _by_reason(figures: ArmResults) -> str:
    """The seeds by why they count as converged or not, such as "still improving: 2022, 2024"."""
    seeds: dict[str, list[int]] = {}
    for seed, found in figures.convergence.items():
        seeds.setdefault(found.reason, []).append(seed)
    return "; ".join(f"{reason}: {format_seeds(mine)}" for reason, mine in seeds.items()) or "–"


def _mean(figures: ArmResults, name: str, scale: float, form: str) -> str:
    values = [value for found in figures.convergence.values() if (value := getattr(found, name)) is not None]
    return number(scale * fmean(values), form) if values else "–"


def speed_table(conclusion: Conclusion) -> Table:
    """Epochs and samples to a training accuracy by arm, and each paired difference with its test."""
    several = len(conclusion.results) > 1
    rows: list[tuple[str, ...]] = []
    for result in conclusion.results:
        name = (result.setting.name,) if several else ()
        for arm, figures in result.arms.items():
            censored = censored_seeds(result, arm)
            rows.append(
                (
                    *name,
                    figures.arm.label,
                    mean_std(epochs_summary(result, arm), 1, ".1f"),
                    mean_std(samples_summary(result, arm), 1, ".0f"),
                    f"{len(censored)} of {len(figures.speed)}",
                    *_BLANK,
                )
            )
        for difference in speed_differences(result):
            p, holm_p = difference.p, conclusion.speed_p[result.setting.name, difference.arm.name]
            rows.append(
                (
                    *name,
                    difference.label,
                    mean_std(summarise(difference.values), 1, "+.1f"),
                    "",
                    "",
                    ends(t_interval(difference.values), "+.1f", 1),
                    "–" if p is None else f"{p:.2g}",
                    "–" if holm_p is None else f"{holm_p:.2g}",
                )
            )
    level = f"{100 * conclusion.comparison.speed_at:g} %"
    columns = (
        "neuron", f"epochs to {level}", "training samples seen", "not reached", "95 % interval (seeds)", "sign-flip p",
        "Holm p",
    )  # fmt: skip
    note = (
        f"Epochs after which a run first reached a training accuracy of {level}, interpolated between epochs; "
        "differences are paired by seed, negative if the later neuron learns faster. Runs that did not reach it "
        "(censored) count with all epochs that they were trained, so that means are lower bounds and differences are "
        "understated; the sign-flip test remains valid. Holm's correction covers all differences of this table."
    )
    headers = ("setting", *columns) if several else columns
    title = data_title("Speed of learning", conclusion.results)
    return Table(title, headers, tuple(rows), "l" * several + "lrrrrrr", note)


_BLANK = ("", "", "")


def speed_seed_table(conclusion: Conclusion) -> Table:
    """The epochs to a training accuracy of every run, from which each p of `speed_table` can be recomputed."""
    seeds = conclusion.comparison.seeds
    rows = tuple(
        (result.setting.name or result.dataset, figures.arm.label, *(_epochs(figures, seed) for seed in seeds))
        for result in conclusion.results
        for figures in result.arms.values()
    )
    note = (
        "Interpolated between epochs. A run that did not reach it is shown as more than all of its epochs, and counts "
        "with that number. The sign-flip p of a difference of speed is computed from the differences of these values."
    )
    level = f"{100 * conclusion.comparison.speed_at:g} %"
    title = data_title(f"Epochs to {level} training accuracy by seed", conclusion.results)
    columns = ("setting", "neuron", *(f"seed {seed}" for seed in seeds))
    return Table(title, columns, rows, "ll" + "r" * len(seeds), note)


def _epochs(figures: ArmResults, seed: int) -> str:
    speed = figures.speed.get(seed)
    if speed is None:
        return MISSING
    return f"{speed.epochs:.4f}" if speed.reached else f"> {speed.epochs:g}"


def has_speed(results: Sequence[SettingResult]) -> bool:
    """Whether any run reached the training accuracy at which the speed is read."""
    return any(
        speed.reached for result in results for figures in result.arms.values() for speed in figures.speed.values()
    )


def convergence_csv(conclusion: Conclusion) -> str:
    """A row for every run that finished or diverged: accuracies as fractions, missing values as empty cells."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in conclusion.results:
        for name, figures in result.arms.items():
            for seed in conclusion.comparison.seeds:
                found, speed = figures.convergence.get(seed), figures.speed.get(seed)
                values: dict[str, Any] = {"setting": result.setting.name, "neuron": name, "seed": seed}
                if speed is not None:
                    values |= {"epochs_to_accuracy": speed.epochs, "reached_accuracy": str(speed.reached).lower()}
                if found is not None or speed is not None:
                    writer.writerow(values | ({} if found is None else _csv_values(found)))
    return buffer.getvalue()


def _csv_values(found: Convergence) -> dict[str, Any]:
    return {
        "converged": str(found.converged).lower(),
        "reason": found.state,
        "epochs": found.epochs,
        "train_accuracy": found.accuracy,
        "train_accuracy_change": found.accuracy_change,
        "train_loss_change": found.loss_change,
        "projected_gain": found.projected_gain,
        "train_test_gap": found.gap,
        "fitted_epoch": found.fitted_epoch,
    }
