"""The page of a design in docs/results: what was run, what the runs show, and each seed's counts."""

from __future__ import annotations

import os
import platform
import shlex
from pathlib import Path

from benchmarks.results_verdict import verdict
from pipeline.config.run_config import PLACE_FIELDS, flatten
from pipeline.presets.registry import find_preset
from preprocess.files import write_whole
from tune.comparison.captions import about_figure, data_title
from tune.comparison.comparison_plan import Comparison, read_comparison
from tune.comparison.comparison_tables import accuracy_table, difference_table, equal_cost_table
from tune.comparison.conclusions import Conclusion, conclude, excluded_lines
from tune.comparison.convergence.convergence_table import convergence_table, has_speed, speed_seed_table, speed_table
from tune.comparison.designs.design import PRESET
from tune.comparison.designs.registry import DESIGNS, paper_table
from tune.comparison.equal_cost import accuracies_at_equal_cost
from tune.comparison.figures.learning_curves import learning_panels
from tune.comparison.figures.overview_figures import overview_figures
from tune.comparison.number_cells import MISSING
from tune.comparison.setting_analysis import SettingResult
from tune.rendering.firing_rate_figure import rates_panel
from tune.rendering.labels import format_seeds, short_value
from tune.rendering.panels import Panel, draw_panels
from tune.rendering.style import PAPER, drawing
from tune.rendering.table import Table

# Designs whose pages show these figures in addition to the differences.
_CURVES = ("figure3a-small", "figure4-small", "figure10-small", "delayed-cue-small")
_RATES = ("figure11-small",)


def write_page(design: str, folder: Path, docs: Path, commit: str) -> None:
    """Write a design's page and its figures.

    Args:
        design: The name of the design.
        folder: The folder of its comparison.
        docs: Where to write the page.
        commit: The commit that trained the runs.
    """
    conclusion = conclude(read_comparison(folder), folder)
    docs.mkdir(parents=True, exist_ok=True)
    names = _write_figures(design, conclusion, docs)
    paper, changed = paper_table(design), changes_table(conclusion.comparison)
    tables = [accuracy_table(conclusion), difference_table(conclusion), counts_table(conclusion)]
    tables += [convergence_table(conclusion)] if _assessed(conclusion) else []
    tables += [speed_table(conclusion), speed_seed_table(conclusion)] if has_speed(conclusion.results) else []
    matches = accuracies_at_equal_cost(conclusion)
    tables += [equal_cost_table(conclusion, matches)] if matches else []
    sentences = [f"- {line}" for line in (*conclusion.sentences(), *excluded_lines(conclusion.errors))]
    parts = [
        f"# {design}",
        *([f"**{conclusion.warning}**"] if conclusion.warning else []),
        _about(design, conclusion, commit),
        *(f"![{name.removesuffix('.svg')}]({name})" for name in names),
        "## What the data show\n\n" + "\n".join(sentences),
        *(table.markdown().rstrip() for table in tables),
        *([changed.markdown().rstrip()] if changed is not None else []),
        *([paper.markdown().rstrip()] if paper else []),
    ]
    write_whole(docs / f"{design}.md", lambda path: path.write_text("\n\n".join(parts) + "\n"))


def _about(design: str, conclusion: Conclusion, commit: str) -> str:
    count = len(conclusion.comparison.configs()) + len(conclusion.comparison.first_parts())
    runs = [outcome.run for outcome in conclusion.outcomes.values() if outcome.run is not None]
    spent = sum(row["epoch_s"] for run in runs for row in run.timings)
    first = runs[0]
    lines = {
        "Question": DESIGNS[design].summary,
        "Verdict": verdict(conclusion),
        "Converged": _converged(conclusion),
        "Data": "; ".join(dict.fromkeys(_data(conclusion, result) for result in conclusion.results)),
        "Command": f"`spikeloom compare {shlex.quote(design)}`",
        "Commit": commit,
        "Date": str(first.environment.get("started"))[:10],
        "Runs": f"{count}, {spent / 60:.0f} minutes of training in total",
        "Machine": f"{len(os.sched_getaffinity(0))} cores, {first.environment.get('processor')}, {platform.system()}",
    }
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def _converged(conclusion: Conclusion) -> str:
    """Such as "yes, all 28 runs after 32 epochs"."""
    arms = [figures for result in conclusion.results for figures in result.arms.values()]
    runs, unconverged = sum(len(arm.convergence) for arm in arms), sum(len(arm.unconverged) for arm in arms)
    if not runs:
        return "not assessed"
    after = f"after {conclusion.comparison.longest} epochs"
    return f"no, {unconverged} of {runs} runs had not {after}" if unconverged else f"yes, all {runs} runs {after}"


def _assessed(conclusion: Conclusion) -> bool:
    return any(figures.convergence for result in conclusion.results for figures in result.arms.values())


def _data(conclusion: Conclusion, result: SettingResult) -> str:
    """The data set with its numbers of samples, such as "n-mnist (2000 training and 2000 test samples)"."""
    name = result.setting.name
    runs = [one.run for (where, _, _), one in conclusion.outcomes.items() if where == name and one.run is not None]
    train = next((run.result["train_samples"] for run in runs if run.result and run.result.get("train_samples")), None)
    training = "" if train is None else f"{train} training and "
    return f"{result.dataset} ({training}{result.test_samples} test samples)"


def counts_table(conclusion: Conclusion) -> Table:
    """The number of correct test samples by seed: whole numbers, from which every p-value can be recomputed."""
    seeds = conclusion.comparison.seeds
    rows = []
    for result in conclusion.results:
        of = result.test_samples or 0
        for figures in result.arms.values():
            cells = (f"{figures.accuracy[seed] * of:.6g}" if seed in figures.accuracy else MISSING for seed in seeds)
            rows.append((result.setting.name or result.dataset, figures.arm.label, str(of), *cells))
    note = (
        "A run that diverged counts with chance accuracy. The sign-flip p of a difference: of all 2^n ways to give the "
        "differences by seed a sign, the share whose sum is at least as far from zero as that of the observed signs."
    )
    columns = ("setting", "neuron", "test samples", *(f"seed {seed}" for seed in seeds))
    title = data_title("Correct test samples by seed", conclusion.results)
    return Table(title, columns, tuple(rows), "llr" + "r" * len(seeds), note)


def changes_table(comparison: Comparison) -> Table | None:
    """The fields in which the design's runs differ from the preset of the same name; None without a preset."""
    values: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for setting in comparison.settings:
        preset = setting.place.get(PRESET)
        if preset is None:
            continue
        theirs, ours = flatten(find_preset(preset).config), flatten(setting.config)
        for path in ours:
            if path not in PLACE_FIELDS and path not in ("neuron.name", "seed"):
                values.setdefault((preset, path), (_shown(theirs[path]), []))[1].append(_shown(ours[path]))
    rows = tuple(
        (preset, path, theirs, ", ".join(dict.fromkeys(ours)))
        for (preset, path), (theirs, ours) in values.items()
        if any(value != theirs for value in ours)
    )
    if not values:
        return None
    note = (
        "Accuracies of `spikeloom train` with the preset as it is are those of another network or another number of "
        "epochs. Several values are those of the settings."
    )
    seeds = f"seeds {format_seeds(comparison.seeds)}"
    columns = ("preset", "field", "preset's value", "in this design")
    return Table(f"What the design changes in its preset ({seeds})", columns, rows, "llrr", note)


def _shown(value: object) -> str:
    return "none" if value is None else short_value(value)


def _write_figures(design: str, conclusion: Conclusion, docs: Path) -> list[str]:
    names = []
    with drawing(PAPER):
        figures = {name: overview.draw(overview.about) for name, overview in overview_figures(conclusion).items()}
        for result in conclusion.results:
            place = result.setting.name if len(conclusion.comparison.datasets) == 1 else result.dataset
            where = f"{place}-".replace(" ", "-").replace("=", "") if len(conclusion.results) > 1 else ""
            about = about_figure([result])
            if design in _CURVES:
                figures[f"{where}curves"] = draw_panels(*learning_panels(conclusion, result), about=about)
            if design in _RATES:
                figures[f"{where}rates"] = draw_panels(_rates(conclusion, result.setting.name), about=about)
        for name, figure in figures.items():
            path = docs / f"{design}-{name}.svg"
            write_whole(path, lambda to, figure=figure: figure.savefig(to, format="svg", metadata={"Date": None}))
            names.append(path.name)
    return names


def _rates(conclusion: Conclusion, setting: str) -> Panel:
    """Mean firing rates by layer over the seeds."""
    rates: dict[str, dict[str, float]] = {}
    for arm in conclusion.comparison.arms:
        runs = [conclusion.outcomes[setting, arm.name, seed].run for seed in conclusion.comparison.seeds]
        every = [run.result["firing_rates"] for run in runs if run is not None and run.result is not None]
        rates[arm.label] = {layer: sum(row[layer] for row in every) / len(every) for layer in every[0]}
    return rates_panel("Measured on the test samples; means over seeds.", rates)
