"""A comparison's part of the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.runs import Run
from tune.comparison import Comparison, Outcome, read_comparison, read_outcomes
from tune.report.figures import Panel, confusion_panel, difference_panels, learning_panels, rates_panel
from tune.report.section import Card, Section, draw_pictures, environment_of, settings_of
from tune.report.strips import read_strips
from tune.statistics import summarise
from tune.tables import per_cent, points
from tune.verdict import SELECTIONS, Verdict, neuron_label, seed_words


def comparison_section(folder: Path, name: str) -> Section:
    """The section of a comparison's folder.

    Args:
        folder: With `comparison.json`.
        name: Unique on the page; figures' ids begin with it.

    Raises:
        RunError: If `comparison.json` is missing or damaged.
    """
    comparison = read_comparison(folder)
    outcomes = read_outcomes(comparison, folder)
    verdict = Verdict(comparison, outcomes)
    shown = _first_pair(comparison, outcomes)
    labels = [neuron_label(neuron) for neuron in comparison.neurons]
    config = comparison.config
    first = next(iter(shown.values()), None)
    strips, note = read_strips(shown) if shown else ((), "")
    lead, *sentences = verdict.sentences()
    return Section(
        kind="comparison",
        folder=folder,
        dataset=config.dataset.name,
        title=f"{' against '.join(labels)} on {config.dataset.name}",
        emulated=verdict.emulated,
        lead=lead,
        sentences=(
            *sentences,
            f"Within a seed only the neuron differs: first weights, order of data and every setting are the same. "
            f"Seeds {seed_words(comparison.seeds)}; {config.binning.steps_title}; {config.network.name}, "
            f"{config.schedule.epochs} epochs; {SELECTIONS[config.selection]}; {config.dataset.split_title} split.",
        ),
        cards=_cards(verdict),
        tables=(verdict.table(), verdict.seed_table()),
        pictures=draw_pictures(_panels(verdict, outcomes, shown), name),
        strips=strips,
        strips_note=note,
        faults=verdict.faults,
        settings=settings_of(config, leave_out=("neuron.name", "seed")),
        environment=environment_of(first.environment) if first else {},
    )


def _first_pair(comparison: Comparison, outcomes: Mapping[tuple[str, int], Outcome]) -> dict[str, Run]:
    """Each neuron's run of the first seed that any neuron has: what strips and confusions are shown of."""
    for seed in comparison.seeds:
        found = {neuron: outcomes[neuron, seed].run for neuron in comparison.neurons}
        there = {neuron_label(neuron): run for neuron, run in found.items() if run is not None}
        if there:
            return there
    return {}


def _cards(verdict: Verdict) -> tuple[Card, ...]:
    cards = []
    for figures in verdict.neurons.values():
        summary = figures.summary
        std = "" if summary is None or summary.std is None else f" ± {per_cent(summary.std)}"
        value = "–" if summary is None else f"{per_cent(summary.mean)}{std} %"
        cards.append(Card(f"{neuron_label(figures.neuron)}, test accuracy", value, f"{len(figures.accuracy)} seeds"))
    for difference in verdict.differences:
        summary = summarise(difference.values)
        value = "–" if summary is None else f"{points(summary.mean)} points"
        cards.append(Card(difference.label, value, f"{len(difference.by_seed)} paired seeds"))
    return tuple(cards)


def _panels(verdict: Verdict, outcomes: Mapping[tuple[str, int], Outcome], shown: Mapping[str, Run]) -> list[Panel]:
    """Nothing is drawn where no run is there."""
    if not shown:
        return []
    seed = next(iter(shown.values())).config.seed
    panels = [*learning_panels(outcomes), *difference_panels(verdict)]
    for label, run in shown.items():
        assert run.result is not None
        caption = f"Test samples by label and prediction; seed {seed}."
        panels.append(confusion_panel(f"Confusion, {label}", caption, run.result["confusion"], run.result["classes"]))
    rates = {label: run.result["firing_rates"] for label, run in shown.items() if run.result}
    return [*panels, rates_panel(f"On the test samples; seed {seed}.", rates)]
