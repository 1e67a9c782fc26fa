"""The section of a comparison on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.runs.run_folder import Run
from preprocess.terminal.plural import counted
from tune.comparison.captions import about_figure
from tune.comparison.comparison_plan import PRIMARY_METRIC, STOPPING_RULE, read_comparison
from tune.comparison.comparison_tables import tables
from tune.comparison.conclusions import Conclusion, conclude
from tune.comparison.designs.registry import paper_table
from tune.comparison.figures.learning_curves import learning_panels
from tune.comparison.figures.overview_figures import overview_figures
from tune.comparison.figures.paired_differences import difference_panels
from tune.comparison.setting_analysis import SettingResult
from tune.rendering.confusion_matrix import confusion_panel
from tune.rendering.firing_rate_figure import rates_panel
from tune.rendering.labels import DrawnSeed, format_seeds
from tune.rendering.panels import Panel
from tune.rendering.table import format_percent, number, points
from tune.report.frame_strips import read_strips
from tune.report.section import (
    Card,
    Picture,
    Section,
    draw_picture,
    draw_pictures,
    environment_of,
    settings_of,
)
from tune.stats.summary import summarise

# With more settings than these the page shows only figures of all of them; the curves of each are in figures/.
_MOST_SETTINGS = 4

_OVERVIEW = {
    "accuracy": ("Test accuracy", "Lines are means over seeds, bands their 95 % intervals (Student's t)."),
    "gap": (
        "The gap",
        "Mean paired difference and its 95 % interval (Student's t); above zero the later neuron is better.",
    ),
    "differences": ("Paired differences", "Dots are seeds, diamonds their means, bars 95 % intervals (Student's t)."),
    "map": ("Map", "Means over seeds; in the maps of differences, blue means that the later neuron is better."),
}


def comparison_section(folder: Path, name: str) -> Section:
    """The section of a comparison's folder.

    Args:
        folder: Contains `comparison.json`.
        name: Unique on the page; prefix of its figures' ids.

    Raises:
        RunError: If `comparison.json` is missing or damaged.
    """
    comparison = read_comparison(folder)
    conclusion = conclude(comparison, folder)
    result = conclusion.results[0]
    shown = _first_runs(conclusion, result)
    first = next(iter(shown.values()), None)
    strips, note = read_strips(shown) if shown else ((), "")
    lead, *sentences = conclusion.sentences()
    paper = paper_table(comparison.name)
    return Section(
        kind="comparison",
        folder=folder,
        dataset=", ".join(comparison.datasets),
        title=conclusion.title(),
        emulated=conclusion.emulated,
        lead=lead,
        warning=conclusion.warning,
        sentences=(*sentences, _setup_sentence(conclusion), _declared_sentence(conclusion)),
        cards=_cards(conclusion),
        tables=(*tables(conclusion), *((paper,) if paper else ())),
        pictures=(*_overview(conclusion, name), *_own_pictures(conclusion, shown, name)),
        strips=strips,
        strips_note=note,
        errors=conclusion.errors,
        settings=settings_of(result.config, leave_out=("neuron.name", "seed", *comparison.axes)),
        environment=environment_of(first.environment) if first else {},
    )


def _declared_sentence(conclusion: Conclusion) -> str:
    """What was declared before the first run."""
    margin = conclusion.comparison.margin
    stated = "" if margin is None else f"the margin is {number(100 * margin, 'g')} percentage points; "
    return (
        f"Declared before the first run: the primary metric is {PRIMARY_METRIC.replace('_', ' ')}; {stated}"
        f"{STOPPING_RULE}."
    )


def _setup_sentence(conclusion: Conclusion) -> str:
    """Seeds, network, epochs and selection."""
    comparison, result = conclusion.comparison, conclusion.results[0]
    config = result.config
    epochs = config.schedule.epochs
    seeds = f"Seeds {format_seeds(comparison.seeds)}; "
    if len(conclusion.results) > 1:
        return f"{seeds}{len(conclusion.results)} settings; {config.network.name}; {result.selection}."
    return (
        f"{seeds}{config.binning.steps_title}; {config.network.name}, {counted(epochs, 'epoch')}; "
        f"{result.selection}; {result.split_title} split."
    )


def _first_runs(conclusion: Conclusion, result: SettingResult) -> dict[str, Run]:
    """Each arm's run of the first seed with any run, whose strips and confusion matrices are shown."""
    for seed in conclusion.comparison.seeds:
        found = {
            figures.arm.label: conclusion.outcomes[result.setting.name, name, seed].run
            for name, figures in result.arms.items()
        }
        there = {label: run for label, run in found.items() if run is not None}
        if there:
            return there
    return {}


def _cards(conclusion: Conclusion) -> tuple[Card, ...]:
    """Each arm and difference of a single setting; each difference over all of several settings."""
    if len(conclusion.results) > 1:
        return tuple(_overall_card(conclusion, arm.name) for arm in conclusion.comparison.arms[1:])
    result = conclusion.results[0]
    cards = []
    for figures in result.arms.values():
        summary = figures.summary
        std = "" if summary is None or summary.std is None else f" ± {format_percent(summary.std)}"
        value = "–" if summary is None else f"{format_percent(summary.mean)}{std} %"
        cards.append(Card(f"{figures.arm.label} test accuracy", value, _runs(figures.accuracy)))
    for difference in result.differences:
        summary = summarise(difference.values)
        value = "–" if summary is None else f"{points(summary.mean)} percentage points"
        cards.append(Card(difference.label, value, _runs(difference.by_seed, "paired ")))
    return tuple(cards)


def _runs(by_seed: Mapping[int, float], paired: str = "") -> str:
    """The number of seeds, or of seeds on splits."""
    if any(isinstance(seed, DrawnSeed) for seed in by_seed):
        return counted(len(by_seed), "pair") + " of seed and split"
    return counted(len(by_seed), f"{paired}seed")


def _overall_card(conclusion: Conclusion, arm: str) -> Card:
    differences = [difference for _, difference in conclusion.differences if difference.arm.name == arm]
    settings = f"{len(conclusion.results)} settings"
    if len(conclusion.comparison.datasets) > 1:
        # A mean over different data sets has no meaning.
        means = [summary.mean for difference in differences if (summary := summarise(difference.values))]
        ends = dict.fromkeys(points(end) for end in (min(means), max(means))) if means else ()
        return Card(differences[0].label, f"{' to '.join(ends)} percentage points" if ends else "–", settings)
    values = list(conclusion.overall(arm).values())
    summary = summarise(values)
    value = "–" if summary is None else f"{points(summary.mean)} percentage points"
    return Card(differences[0].label, value, f"mean of {settings}, {counted(len(values), 'seed')}")


def _overview(conclusion: Conclusion, name: str) -> Iterator[Picture]:
    """The figures of all settings together; of a single setting its paired differences, in full width."""
    if len(conclusion.results) == 1:
        yield from _single_overview(conclusion.results[0], name)
    figures = overview_figures(conclusion)
    opening = "gap" if any(key.startswith("gap") for key in figures) else "differences"
    for key, overview in figures.items():
        kind, _, rest = key.partition("-")
        title, caption = _OVERVIEW[kind]
        title = f"{title}: {rest}" if rest else title
        picture = draw_picture(title, overview.draw, f"{name}-{key}", caption, wide=True, about=overview.about)
        yield replace(picture, opens=kind == opening)


def _single_overview(result: SettingResult, name: str) -> Iterator[Picture]:
    if not result.test_samples:
        return
    _, differences = difference_panels(result)
    wide = replace(differences, width=7.2, height=1.6 + 0.4 * len(result.differences))
    for picture in draw_pictures([wide], f"{name}-d", about=about_figure([result])):
        yield replace(picture, wide=True, opens=True)


def _own_pictures(conclusion: Conclusion, shown: dict[str, Run], name: str) -> Iterator[Picture]:
    """The curves of each setting if there are few, and the results of one seed's networks in the first setting."""
    if len(conclusion.results) <= _MOST_SETTINGS:
        for k, result in enumerate(conclusion.results):
            if result.test_samples:
                seeds, differences = difference_panels(result)
                panels = [*learning_panels(conclusion, result), seeds]
                panels += [differences] if len(conclusion.results) > 1 else []
                about, where = about_figure([result]), result.setting.name
                yield from draw_pictures(panels, f"{name}-{k}", about=about, where=where)
    if shown:
        result = conclusion.results[0]
        yield from draw_pictures(_of_networks(result, shown), f"{name}-n", about=about_figure([result]))


def _of_networks(result: SettingResult, shown: dict[str, Run]) -> list[Panel]:
    config = next(iter(shown.values())).config
    split = f", {config.dataset.split_title}" if result.draws else ""
    where = f"{result.setting.name}, seed {config.seed}{split}" if result.setting.name else f"seed {config.seed}{split}"
    panels = []
    for label, run in shown.items():
        assert run.result is not None
        caption = f"Number of test samples by label and prediction; {where}."
        panels.append(confusion_panel(f"Confusion, {label}", caption, run.result["confusion"], run.result["classes"]))
    rates = {label: run.result["firing_rates"] for label, run in shown.items() if run.result}
    return [*panels, rates_panel(f"Measured on the test samples; {where}.", rates)]
