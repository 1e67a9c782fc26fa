"""A comparison's tables: figures of each arm, differences with their tests, seeds, and readings at equal cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tune.comparison.axes import number_axes
from tune.comparison.captions import titled
from tune.comparison.conclusions import Conclusion
from tune.comparison.equal_cost import Reading, read_at_equal
from tune.comparison.setting_analysis import ArmFigures, Difference, Verdict
from tune.rendering.labels import seed_words, short_name, short_value
from tune.rendering.table import Table, number, per_cent
from tune.stats.bootstrap import Bootstrap
from tune.stats.sign_flip import sign_flip_p
from tune.stats.summary import Summary, summarise, t_interval

_CSV_COLUMNS = (
    "row", "setting", "neuron", "minus", "dataset", "emulated", "split", "timesteps", "selection", "network", "epochs",
    "seeds", "missing_seeds", "diverged_seeds", "test_samples", "test_accuracy_mean", "test_accuracy_std",
    "interval_low", "interval_high", "crossed_low", "crossed_high", "bootstrap_low", "bootstrap_high", "sign_flip_p",
    "holm_p", "effect_size", "curve_area_mean", "curve_area_std",
    "firing_rate_mean", "firing_rate_std", "energy_uj_mean", "energy_uj_std", "seconds_mean", "seconds_std",
)  # fmt: skip

_PLACE = ("data set", "split", "T", "seeds", "selection")


def tables(conclusion: Conclusion) -> list[Table]:
    """Every table, the most telling first."""
    found = [accuracy_table(conclusion), difference_table(conclusion)]
    found += [curve_table(conclusion)] if any(_areas(conclusion)) else []
    found += [seed_table(conclusion, verdict) for verdict in conclusion.verdicts if verdict.test_samples]
    readings = read_at_equal(conclusion)
    if readings:
        found.append(reading_table(conclusion, readings))
    if any(own for verdict in conclusion.verdicts for own in verdict.own.values()):
        found.append(tuned_table(conclusion))
    return found


def accuracy_table(conclusion: Conclusion) -> Table:
    """A row for each arm and each difference in each setting; every row says what it was measured on."""
    several = len(conclusion.verdicts) > 1
    columns: tuple[str, ...] = (
        "neuron", "test accuracy, %", "95 % interval", "firing rate", "energy, µJ", "training, s", *_PLACE
    )  # fmt: skip
    rows = []
    for verdict in conclusion.verdicts:
        words = (verdict.setting.name,) if several else ()
        rows += [(*words, *_arm_row(conclusion, verdict, figures)) for figures in verdict.arms.values()]
        rows += [(*words, *_difference_row(conclusion, verdict, difference)) for difference in verdict.differences]
    note = (
        "Mean ± standard deviation over seeds; differences are paired by seed, in points. Intervals are Student's t "
        "over seeds and test samples, groups of samples where these are alike. Energy is counted, of one inference, "
        "not measured."
    )
    if several:
        columns = ("setting", *columns)
    title = f"{'Emulated data: ' if conclusion.emulated else ''}{conclusion.title()}"
    return Table(title, columns, tuple(rows), "l" * several + "lrrrrrllrll", note)


def _arm_row(conclusion: Conclusion, verdict: Verdict, figures: ArmFigures) -> tuple[str, ...]:
    return (
        figures.arm.label,
        mean_std(figures.summary, 100, ".1f"),
        _ends(figures.crossed_interval, ".1f"),
        mean_std(figures.firing_rate, 1, ".3f"),
        mean_std(figures.energy_uj, 1, ".3g"),
        mean_std(figures.seconds, 1, ".0f"),
        *_place(conclusion, verdict, list(figures.accuracy), figures.diverged),
    )


def _difference_row(conclusion: Conclusion, verdict: Verdict, difference: Difference) -> tuple[str, ...]:
    return (
        difference.label,
        mean_std(summarise(difference.values), 100, "+.1f"),
        _ends(difference.crossed_interval, "+.1f"),
        "",
        "",
        "",
        *_place(conclusion, verdict, list(difference.by_seed)),
    )


def _place(
    conclusion: Conclusion, verdict: Verdict, there: Sequence[int], diverged: Sequence[int] = ()
) -> tuple[str, ...]:
    config = verdict.config
    steps = config.binning.steps_title.removeprefix("T = ")
    return (
        verdict.dataset,
        config.dataset.split_title,
        steps,
        _seeds(conclusion, there, diverged),
        verdict.selection,
    )


def _seeds(conclusion: Conclusion, there: Sequence[int], diverged: Sequence[int]) -> str:
    """The seeds that count, and, never silently, those that are missing or diverged."""
    missing = [seed for seed in conclusion.comparison.seeds if seed not in there]
    text = f"{len(there)}: {seed_words(there)}" if there else "0"
    text += f"; diverged {seed_words(diverged)}" if diverged else ""
    return f"{text}; missing {seed_words(missing)}" if missing else text


def difference_table(conclusion: Conclusion) -> Table:
    """Every difference with its intervals, tests, effect size and what could have been found."""
    rows = []
    for verdict, difference in conclusion.differences:
        adjusted, detectable = conclusion.adjusted(verdict, difference), difference.detectable(conclusion.family)
        effect = difference.effect
        share = None if difference.bootstrap is None else difference.bootstrap.seed_share
        rows.append(
            (
                *((verdict.setting.name,) if len(conclusion.verdicts) > 1 else ()),
                difference.label,
                mean_std(summarise(difference.values), 100, "+.2f"),
                _ends(difference.interval),
                _ends(difference.crossed_interval),
                _ends(None if difference.bootstrap is None else difference.bootstrap.interval),
                "–" if difference.p is None else f"{difference.p:.2g}",
                "–" if adjusted is None else f"{adjusted:.2g}",
                "–" if effect is None else number(effect, "+.1f"),
                "–" if share is None else f"{100 * share:.0f} %",
                "–" if detectable is None else "> 100" if detectable > 1 else f"{100 * detectable:.1f}",
                str(len(difference.by_seed)),
            )
        )
    columns = (
        "difference", "points", "95 % interval (seeds)", "95 % interval (seeds and samples)", "bootstrap",
        "sign-flip p", "Holm p", "effect d_z", "of the seeds", "detectable", "seeds",
    )  # fmt: skip
    several = len(conclusion.verdicts) > 1
    holm = f"Holm's correction is over all {conclusion.family} declared differences. " if conclusion.family > 1 else ""
    note = (
        "Paired by seed. Intervals are Student's t over seeds alone, and over seeds and test samples (groups of "
        "samples where these are alike); the bootstrap draws seeds and test samples, and from fewer than six seeds is "
        f"too narrow. {holm}d_z: mean over standard deviation of the paired differences, corrected for few seeds. Of "
        "the seeds: the share of the uncertainty that more seeds would take away, and more test samples would not. "
        "Detectable: found with 80 % power by the sign-flip test at this spread, in points; – where so few seeds can "
        "find nothing."
    )
    heads = ("setting", *columns) if several else columns
    title = titled("Paired differences", conclusion.verdicts)
    return Table(title, heads, tuple(rows), "l" * several + "lrrrrrrrrrr", note)


def seed_table(conclusion: Conclusion, verdict: Verdict) -> Table:
    """Test accuracy by seed, then its mean and interval; missing runs are shown as missing."""
    columns = [(f"{figures.arm.label}, %", figures.accuracy, ".1f") for figures in verdict.arms.values()]
    columns += [(f"{difference.label}, points", difference.by_seed, "+.1f") for difference in verdict.differences]
    rows = []
    for seed in conclusion.comparison.seeds:
        words = (number(100 * held[seed], form) if seed in held else "missing" for _, held, form in columns)
        rows.append((str(seed), *words))
    values = [(list(held.values()), form) for _, held, form in columns]
    rows.append(("mean ± std", *(mean_std(summarise(held), 100, form) for held, form in values)))
    rows.append(("95 % interval", *(_ends(t_interval(held), form) for held, form in values)))
    where = f": {verdict.setting.name}" if verdict.setting.name else ""
    title = f"{titled(f'Test accuracy by seed{where}', [verdict])}, {verdict.selection}"
    note = "Intervals are Student's t over seeds; near 100 % they may reach beyond it."
    heads = ("seed", *(name for name, _, _ in columns))
    return Table(title, heads, tuple(rows), "l" + "r" * len(columns), note, summary=2)


def curve_table(conclusion: Conclusion) -> Table:
    """The mean of each learning curve over its epochs: of two that end alike, the one that rose sooner has more."""
    rows = tuple(
        (
            verdict.setting.name or verdict.dataset,
            *(mean_std(figures.curve_area, 100, ".1f") for figures in verdict.arms.values()),
        )
        for verdict in conclusion.verdicts
    )
    labels = [f"{arm.label}, %" for arm in conclusion.comparison.arms]
    note = "On what each epoch measured: validation samples, else test samples, else those that train."
    title = titled("Mean accuracy over the epochs", conclusion.verdicts)
    return Table(title, ("where", *labels), rows, "l" + "r" * len(labels), note)


def _areas(conclusion: Conclusion) -> Iterator[Summary | None]:
    return (figures.curve_area for verdict in conclusion.verdicts for figures in verdict.arms.values())


def reading_table(conclusion: Conclusion, readings: Sequence[Reading]) -> Table:
    """Accuracies read at equal cost instead of at equal settings."""
    labels = [arm.label for arm in conclusion.comparison.arms]
    rows = tuple(
        (reading.where, reading.quantity, reading.at, *(per_cent(value) for value in reading.accuracies.values()))
        for reading in readings
    )
    note = (
        "Read between the measured points, in the middle of the range that all neurons reach; at equal training time "
        "from the accuracy of each epoch, where the quickest neuron has finished."
    )
    axes = number_axes(conclusion)
    if len(axes) == 1:
        note += f" A cost that does not rise or fall along {short_name(axes[0])} for every neuron cannot be read."
    columns = ("where", "equal", "at", *(f"{label}, %" for label in labels))
    return Table(titled("Read at equal cost", conclusion.verdicts), columns, rows, "llr" + "r" * len(labels), note)


def tuned_table(conclusion: Conclusion) -> Table:
    """What a search found for each arm in each setting."""
    fields = list(
        dict.fromkeys(path for verdict in conclusion.verdicts for own in verdict.own.values() for path in own)
    )
    rows = tuple(
        (
            verdict.setting.name or verdict.dataset,
            verdict.arms[name].arm.label,
            *(short_value(own[path]) if path in own else "–" for path in fields),
        )
        for verdict in conclusion.verdicts
        for name, own in verdict.own.items()
    )
    columns = ("setting", "neuron", *map(short_name, fields))
    note = "Chosen by validation accuracy; the seeds then ran with these values on all training samples."
    return Table(titled("Tuned for each neuron", conclusion.verdicts), columns, rows, "ll" + "r" * len(fields), note)


def csv_text(conclusion: Conclusion) -> str:
    """The tables for machines: fractions, an empty cell where there is no value."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for verdict in conclusion.verdicts:
        writer.writerows(_csv_rows(conclusion, verdict))
    return buffer.getvalue()


def _csv_rows(conclusion: Conclusion, verdict: Verdict) -> Iterator[dict[str, Any]]:
    for name, figures in verdict.arms.items():
        values: dict[str, Any] = {"row": "neuron", "neuron": name} | _csv_values(conclusion, verdict, figures.accuracy)
        values |= {"diverged_seeds": " ".join(map(str, figures.diverged))} | _csv_bootstrap(figures.bootstrap)
        for column in ("curve_area", "firing_rate", "energy_uj", "seconds"):
            values |= _csv_summary(column, getattr(figures, column))
        yield values
    for difference in verdict.differences:
        values = {"row": "difference", "neuron": difference.arm.name, "minus": difference.minus.name}
        values |= _csv_values(conclusion, verdict, difference.by_seed)
        values |= {"sign_flip_p": sign_flip_p(difference.values), "effect_size": difference.effect}
        values["holm_p"] = conclusion.adjusted(verdict, difference)
        yield values | _csv_bootstrap(difference.bootstrap)


def _csv_values(conclusion: Conclusion, verdict: Verdict, by_seed: Mapping[int, float]) -> dict[str, Any]:
    config = verdict.config
    low, high = t_interval(list(by_seed.values())) or (None, None)
    return {
        "setting": verdict.setting.name,
        "dataset": config.dataset.name,
        "emulated": str(verdict.emulated).lower(),
        "split": config.dataset.split_title,
        "timesteps": None if config.binning.varies else config.binning.timesteps,
        "selection": config.selection,
        "network": config.network.name,
        "epochs": config.schedule.epochs,
        "seeds": " ".join(str(seed) for seed in by_seed),
        "missing_seeds": " ".join(str(seed) for seed in conclusion.comparison.seeds if seed not in by_seed),
        "test_samples": verdict.test_samples,
        "interval_low": low,
        "interval_high": high,
        **_csv_summary("test_accuracy", summarise(list(by_seed.values()))),
    }


def mean_std(summary: Summary | None, scale: float, form: str) -> str:
    """For tables: mean ± standard deviation; a dash where there is none."""
    if summary is None:
        return "–"
    mean = number(scale * summary.mean, form)
    return mean if summary.std is None else f"{mean} ± {number(scale * summary.std, form.lstrip('+'))}"


def _ends(interval: tuple[float, float] | None, form: str = "+.2f") -> str:
    return "–" if interval is None else " to ".join(number(100 * end, form) for end in interval)


def _csv_summary(name: str, summary: Summary | None) -> dict[str, float | None]:
    mean, std = (summary.mean, summary.std) if summary else (None, None)
    return {f"{name}_mean": mean, f"{name}_std": std}


def _csv_bootstrap(bootstrap: Bootstrap | None) -> dict[str, float]:
    """The interval over seeds and samples that tables show, and the bootstrap's."""
    found: dict[str, float] = {}
    if bootstrap is not None:
        found |= dict(zip(("bootstrap_low", "bootstrap_high"), bootstrap.interval, strict=True))
        found |= dict(zip(("crossed_low", "crossed_high"), bootstrap.t_interval or (), strict=False))
    return found
