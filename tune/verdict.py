"""What a comparison says: each neuron's figures, the paired differences, and what they do and do not show, in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune.comparison import Comparison, Outcome
from tune.statistics import LEVEL, Summary, pairs_needed, sign_flip_p, smallest_p, summarise, t_interval
from tune.tables import Table, number, points

SELECTIONS = {
    "last": "last epoch",
    "validation": "best validation epoch",
    "paper": "best test epoch (the paper's convention)",
}

_CSV_COLUMNS = (
    "row", "neuron", "minus", "dataset", "emulated", "split", "timesteps", "selection", "network", "epochs", "seeds",
    "missing_seeds", "test_samples", "test_accuracy_mean", "test_accuracy_std", "interval_low", "interval_high",
    "sign_flip_p", "firing_rate_mean", "firing_rate_std", "seconds_mean", "seconds_std",
)  # fmt: skip


def neuron_label(name: str) -> str:
    """How tables and pictures call a neuron: LIF, CLIF-detached; the class's name for one from outside."""
    if ":" in name:
        return name.rpartition(":")[2]
    kind, *words = name.split("-")
    return "-".join((kind.upper(), *words))


@dataclass(frozen=True)
class NeuronFigures:
    """One neuron's figures over the seeds that are there; accuracies and rates are fractions."""

    neuron: str
    accuracy: dict[int, float]
    firing_rate: Summary | None
    seconds: Summary | None
    missing: dict[int, str]

    @property
    def summary(self) -> Summary | None:
        """Of the test accuracy."""
        return summarise(list(self.accuracy.values()))


@dataclass(frozen=True)
class Difference:
    """A neuron minus another over the seeds that both have; fractions."""

    neuron: str
    minus: str
    by_seed: dict[int, float]

    @property
    def values(self) -> list[float]:
        return list(self.by_seed.values())

    @property
    def label(self) -> str:
        return f"{neuron_label(self.neuron)} − {neuron_label(self.minus)}"


class Verdict:
    """Figures and differences of a comparison.

    Attributes:
        comparison: What was asked for.
        neurons: Figures by neuron, in the order asked for.
        differences: Of each later neuron and the first.
        emulated: Whether an emulator made the recordings.
        test_samples: Of every run; None where no run is there.
    """

    def __init__(self, comparison: Comparison, outcomes: Mapping[tuple[str, int], Outcome]) -> None:
        self.comparison = comparison
        self.neurons = {neuron: _figures(comparison, outcomes, neuron) for neuron in comparison.neurons}
        first, *others = comparison.neurons
        self.differences = [self._difference(neuron, first) for neuron in others]
        results = [outcome.result for outcome in outcomes.values() if outcome.run is not None]
        self.emulated = any(result["emulated"] for result in results) or _named_emulated(comparison)
        self.test_samples: int | None = results[0]["test_samples"] if results else None
        self.faults = tuple(
            f"{neuron_label(neuron)} seed {seed}: {cause}"
            for neuron, figures in self.neurons.items()
            for seed, cause in figures.missing.items()
        )

    def _difference(self, neuron: str, minus: str) -> Difference:
        ours, theirs = self.neurons[neuron].accuracy, self.neurons[minus].accuracy
        return Difference(neuron, minus, {seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs})

    @property
    def dataset(self) -> str:
        """The data set's name, called emulated where it is and its name does not say so."""
        name = self.comparison.config.dataset.name
        return f"{name} (emulated)" if self.emulated and not name.startswith("emulated-") else name

    @property
    def about(self) -> str:
        """Data set, split and T."""
        config = self.comparison.config
        return f"{self.dataset}, {config.dataset.split_title} split, {config.binning.steps_title}"

    def table(self) -> Table:
        """A row a neuron and a row a difference; every row says what it was measured on."""
        rows = [self._neuron_row(figures) for figures in self.neurons.values()]
        rows += [self._difference_row(difference) for difference in self.differences]
        columns = (
            "neuron", "test accuracy, %", "firing rate", "training, s", "data set", "split", "T", "seeds", "selection",
        )  # fmt: skip
        note = "Mean ± standard deviation over seeds; differences are paired by seed, in points."
        return Table(self._title(), columns, tuple(rows), "lrrrllrll", note)

    def _title(self) -> str:
        names = " and ".join(neuron_label(neuron) for neuron in self.comparison.neurons)
        return f"{'Emulated data: ' if self.emulated else ''}{names} on {self.dataset}"

    def _place(self) -> tuple[str, str, str]:
        config = self.comparison.config
        return self.dataset, config.dataset.split_title, config.binning.steps_title.removeprefix("T = ")

    def _neuron_row(self, figures: NeuronFigures) -> tuple[str, ...]:
        return (
            neuron_label(figures.neuron),
            _mean_std(figures.summary, 100, ".1f"),
            _mean_std(figures.firing_rate, 1, ".3f"),
            _mean_std(figures.seconds, 1, ".0f"),
            *self._place(),
            self._seeds(list(figures.accuracy)),
            self._selection(),
        )

    def _difference_row(self, difference: Difference) -> tuple[str, ...]:
        return (
            difference.label,
            _mean_std(summarise(difference.values), 100, "+.1f"),
            "",
            "",
            *self._place(),
            self._seeds(list(difference.by_seed)),
            self._selection(),
        )

    def _seeds(self, there: Sequence[int]) -> str:
        """The seeds that count, and, never silently, those that are missing."""
        missing = [seed for seed in self.comparison.seeds if seed not in there]
        text = f"{len(there)}: {seed_words(there)}" if there else "0"
        return f"{text}; missing {seed_words(missing)}" if missing else text

    def seed_table(self) -> Table:
        """Test accuracy by seed, then its mean and interval; missing runs are shown as missing."""
        columns = [(f"{neuron_label(name)}, %", figures.accuracy, ".1f") for name, figures in self.neurons.items()]
        columns += [(f"{difference.label}, points", difference.by_seed, "+.1f") for difference in self.differences]
        rows = []
        for seed in self.comparison.seeds:
            words = (number(100 * held[seed], form) if seed in held else "missing" for _, held, form in columns)
            rows.append((str(seed), *words))
        values = [(list(held.values()), form) for _, held, form in columns]
        rows.append(("mean ± std", *(_mean_std(summarise(held), 100, form) for held, form in values)))
        rows.append(("95 % interval", *(_interval(held, form) for held, form in values)))
        title = f"Test accuracy by seed: {self.about}, {self._selection()}"
        names = ("seed", *(name for name, _, _ in columns))
        note = "Intervals are Student's t over seeds; near 100 % they may reach beyond it."
        return Table(title, names, tuple(rows), "l" + "r" * len(columns), note)

    def _selection(self) -> str:
        return SELECTIONS[self.comparison.config.selection]

    def csv(self) -> str:
        """The table for machines: fractions, an empty cell where there is no value."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, _CSV_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for figures in self.neurons.values():
            values: dict[str, Any] = {"row": "neuron", "neuron": figures.neuron}
            values |= self._csv_values(figures.accuracy)
            for name, summary in (("firing_rate", figures.firing_rate), ("seconds", figures.seconds)):
                values |= _csv_summary(name, summary)
            writer.writerow(values)
        for difference in self.differences:
            values = {"row": "difference", "neuron": difference.neuron, "minus": difference.minus}
            values |= self._csv_values(difference.by_seed)
            writer.writerow(values | {"sign_flip_p": sign_flip_p(difference.values)})
        return buffer.getvalue()

    def _csv_values(self, by_seed: Mapping[int, float]) -> dict[str, Any]:
        config = self.comparison.config
        low, high = t_interval(list(by_seed.values())) or (None, None)
        return {
            "dataset": config.dataset.name,
            "emulated": str(self.emulated).lower(),
            "split": config.dataset.split_title,
            "timesteps": None if config.binning.varies else config.binning.timesteps,
            "selection": config.selection,
            "network": config.network.name,
            "epochs": config.schedule.epochs,
            "seeds": " ".join(str(seed) for seed in by_seed),
            "missing_seeds": " ".join(str(seed) for seed in self.comparison.seeds if seed not in by_seed),
            "test_samples": self.test_samples,
            "interval_low": low,
            "interval_high": high,
            **_csv_summary("test_accuracy", summarise(list(by_seed.values()))),
        }

    def sentences(self) -> list[str]:
        """What the data do and do not show."""
        said = [self._sentence(difference) for difference in self.differences]
        if self.test_samples:
            said.append(f"One test sample is {100 / self.test_samples:.2f} points ({self.test_samples} test samples).")
        if self.comparison.config.selection == "paper":
            said.append("The best epoch was chosen by its test accuracy, so every accuracy here is flattering.")
        if self.emulated:
            said.append("The data are emulated: they show that the road works, not which neuron is better.")
        return said

    def _sentence(self, difference: Difference) -> str:
        summary = summarise(difference.values)
        if summary is None:
            return f"{difference.label}: no seed has both runs, so these data say nothing about the difference."
        seeds = f"{summary.n} seed{'s' if summary.n > 1 else ''}"
        said = f"{difference.label} is {points(summary.mean)} points over {seeds}"
        interval = t_interval(difference.values)
        if interval is None:
            return f"{said}: one pair of runs cannot tell a difference from chance."
        p = sign_flip_p(difference.values)
        assert p is not None
        said += f" (95 % interval {points(interval[0])} to {points(interval[1])}; sign-flip p = {p:.2g}): "
        if p <= LEVEL:
            better = difference.neuron if summary.mean > 0 else difference.minus
            return f"{said}in this setting {neuron_label(better)} is ahead by more than chance explains."
        if smallest_p(summary.n) > LEVEL:
            return f"{said}not shown to differ; {seeds} cannot show it, {pairs_needed()} or more could."
        return f"{said}not shown to differ."


def _figures(comparison: Comparison, outcomes: Mapping[tuple[str, int], Outcome], neuron: str) -> NeuronFigures:
    mine = {seed: outcomes[neuron, seed] for seed in comparison.seeds}
    there = {seed: outcome.result for seed, outcome in mine.items() if outcome.run is not None}
    return NeuronFigures(
        neuron,
        {seed: float(result["test_accuracy"]) for seed, result in there.items()},
        summarise([float(result["firing_rate"]) for result in there.values()]),
        summarise([float(result["seconds"]) for result in there.values()]),
        {seed: outcome.missing for seed, outcome in mine.items() if outcome.run is None},
    )


def _named_emulated(comparison: Comparison) -> bool:
    return comparison.config.dataset.name.startswith("emulated-")


def _mean_std(summary: Summary | None, scale: float, form: str) -> str:
    if summary is None:
        return "–"
    mean = number(scale * summary.mean, form)
    return mean if summary.std is None else f"{mean} ± {number(scale * summary.std, form.lstrip('+'))}"


def _interval(values: Sequence[float], form: str) -> str:
    interval = t_interval(values)
    return "–" if interval is None else " to ".join(number(100 * end, form) for end in interval)


def _csv_summary(name: str, summary: Summary | None) -> dict[str, float | None]:
    mean, std = (summary.mean, summary.std) if summary else (None, None)
    return {f"{name}_mean": mean, f"{name}_std": std}


def seed_words(seeds: Sequence[int]) -> str:
    """Seeds in few words: 2022-2024 where they follow on each other, else 2022, 2024."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)
