"""The page of docs/results with analyses of every run of a design: measures by neuron and seed, and their tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.analysis.stored_result import AnalysisResult
from tune.comparison.number_cells import ends, mean_std
from tune.rendering.labels import neuron_label
from tune.rendering.table import Table, number
from tune.stats.holm import holm
from tune.stats.sign_flip import sign_flip_p
from tune.stats.summary import summarise, t_interval

Values = Mapping[str, Mapping[int, float]]
"""A measure by neuron and seed."""


@dataclass(frozen=True)
class Measure:
    """A number that is taken from the result of an analysis.

    Attributes:
        title: What it is, with its unit.
        of: The number in a result.
        form: Its format.
    """

    title: str
    of: Callable[[Any], float]
    form: str = ".3f"


@dataclass(frozen=True)
class Section:
    """A table of the page.

    Attributes:
        analysis: The name of the analysis.
        question: The heading.
        measures: What is taken from its results. The first is tested, and was chosen before the runs were analysed; the
            others only describe.
        from_zero: Whether a measure is itself a difference within a run, which is tested against zero for each neuron;
            otherwise each neuron is compared with the first, paired by seed.
    """

    analysis: str
    question: str
    measures: tuple[Measure, ...]
    from_zero: bool = False


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _accuracy(kind: str, level: float) -> Callable[[Any], float]:
    """Accuracy in % at a level of a disturbance, 0 for undisturbed samples, relative to T for time steps."""

    def of(result: Any) -> float:
        points = next(curve.points for curve in result.curves if curve.kind == kind)
        at = level * result.subject.timesteps if kind == "timesteps" else level
        return 100 * next(point.accuracy for point in points if point.level == at)

    return of


def _lost(dynamics: str, reset: float | None = None) -> Callable[[Any], float]:
    """Accuracy with these dynamics minus that with the trained ones, in points."""

    def of(result: Any) -> float:
        rows = {(row.dynamics, row.reset_value): row.accuracy for row in result.rows}
        return 100 * (rows[dynamics, reset] - rows["trained", None])

    return of


def _layer_mean_percent(of: Callable[[Any], float]) -> Callable[[Any], float]:
    return lambda result: 100 * _mean([of(layer) for layer in result.layers])


# One test sample of 2,000 is 0.05 points: p-values can be recomputed from what is shown.
POINTS, PER_CENT = "+.2f", ".2f"
SECTIONS = (
    Section(
        "gradients",
        "Gradients: does a neuron's input reach its later spikes?",
        (
            Measure(
                "reach: |∂s[T]/∂x[1]|, mean over layers, 1e-3",
                lambda result: 1e3 * _mean([layer.reach[0].mean[-1] for layer in result.layers]),
            ),
            Measure(
                "temporal / spatial part of ∂L/∂u, rms, mean over layers",
                lambda result: _mean([layer.temporal / layer.spatial for layer in result.layers]),
            ),
            Measure("temporal part exactly 0, %", _layer_mean_percent(lambda layer: layer.zero_temporal), PER_CENT),
            Measure("… because the path is cut, %", _layer_mean_percent(lambda layer: layer.zero_cut), PER_CENT),
        ),
    ),
    Section(
        "rates",
        "Rates: who fires less?",
        (
            Measure("spikes per neuron and time step", lambda result: result.rate, ".6f"),
            Measure("first layer", lambda result: result.layers[0].rate, ".4f"),
            Measure("last layer", lambda result: result.layers[-1].rate, ".4f"),
            Measure("silent neurons of the first layer, %", lambda result: 100 * result.layers[0].silent, PER_CENT),
        ),
    ),
    Section(
        "energy",
        "Energy: what does an inference cost?",
        (
            Measure("with memory, corrected, µJ", lambda result: result.corrected.total_uj, ".4f"),
            Measure("sparse: a zero input costs nothing, µJ", lambda result: result.sparse_uj, ".3f"),
            Measure("Table 6's rule, µJ", lambda result: result.table6_uj, ".2f"),
        ),
    ),
    Section(
        "robustness",
        "Robustness: test accuracy of disturbed recordings, %",
        (
            Measure("as many noise events as events", _accuracy("noise", 1.0), PER_CENT),
            Measure("undisturbed", _accuracy("noise", 0.0), PER_CENT),
            Measure("half as many noise events", _accuracy("noise", 0.5), PER_CENT),
            Measure("10 hot pixels", _accuracy("hot-pixels", 10.0), PER_CENT),
            Measure("half of the events", _accuracy("dropped", 0.5), PER_CENT),
            Measure("30 ms jitter", _accuracy("jitter", 30.0), PER_CENT),
            Measure("half the time steps", _accuracy("timesteps", 0.5), PER_CENT),
            Measure("twice the time steps", _accuracy("timesteps", 2.0), PER_CENT),
        ),
    ),
    Section(
        "inference",
        "Inference with the dynamics of LIF: accuracy minus that of the trained neuron, points",
        (
            Measure("soft reset", _lost("soft"), POINTS),
            *(
                Measure(f"hard reset to {r:g}", _lost("hard", r), POINTS)
                for r in (0.0, -0.02, -0.04, -0.06, -0.08, -0.1)
            ),
        ),
        from_zero=True,
    ),
)

_TESTED = (
    "The first measure is tested: it was chosen before the runs were analysed. The others describe, without a test. "
)
_PAIRED = (
    "Differences are paired by seed; the interval is Student's t over seeds; p is that of the exact sign-flip test, "
    "and Holm's correction covers the tests of this table."
)


def section_table(section: Section, results: Mapping[str, Mapping[int, AnalysisResult]]) -> Table:
    """The table of a section.

    Args:
        section: The analysis and its measures.
        results: The results of the analysis by neuron and seed; the first neuron is the baseline.
    """
    baseline, seeds = next(iter(results)), sorted(next(iter(results.values())))
    tested = [name for name in results if section.from_zero or name != baseline]
    rows = []
    for measure in section.measures:
        values = {name: {seed: measure.of(found[seed]) for seed in seeds} for name, found in results.items()}
        differences = {name: _differences(section, values, name, baseline) for name in tested}
        p_values: dict[str, float | None] = dict.fromkeys(tested)
        if measure is section.measures[0]:
            p_values = {name: sign_flip_p(found) for name, found in differences.items()}
        corrected = dict(zip(tested, holm(list(p_values.values())), strict=True))
        for name, by_seed in values.items():
            cells = [mean_std(summarise(list(by_seed.values())), 1, measure.form)]
            if name in differences:
                form = f"+{measure.form.lstrip('+')}"
                cells.append(mean_std(summarise(differences[name]), 1, form))
                cells.append(ends(t_interval(differences[name]), form, 1))
                cells += [_p(p_values[name]), _p(corrected[name])]
            else:
                cells += ["", "", "", ""]
            each = (number(by_seed[seed], measure.form) for seed in seeds)
            rows.append((measure.title, neuron_label(name), *cells, *each))
    against = "against zero" if section.from_zero else f"difference from {neuron_label(baseline)}"
    columns = ("measure", "neuron", "mean", against, "95 % interval", "sign-flip p", "Holm p")
    columns += tuple(f"seed {seed}" for seed in seeds)
    return Table(section.question, columns, tuple(rows), "ll" + "r" * (len(columns) - 2), _TESTED + _PAIRED)


def _differences(section: Section, values: Values, name: str, baseline: str) -> list[float]:
    if section.from_zero:
        return list(values[name].values())
    return [value - values[baseline][seed] for seed, value in values[name].items()]


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
