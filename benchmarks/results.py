"""Run designs and write a page with the results of each: ``python -m benchmarks.results``.

docs/results/<design>.md    command, commit, training time and machine; figures, conclusions and tables; and the
                            paper's results in a separate table
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from preprocess.files import write_whole
from tune.comparison.captions import about_figure
from tune.comparison.comparison_figures import learning_panels
from tune.comparison.comparison_plan import read_comparison
from tune.comparison.comparison_tables import accuracy_table, difference_table, equal_cost_table
from tune.comparison.conclusions import Conclusion, conclude, excluded_lines
from tune.comparison.designs.registry import paper_table
from tune.comparison.equal_cost import accuracies_at_equal_cost
from tune.comparison.overview_figures import overview_figures
from tune.rendering.firing_rate_figure import rates_panel
from tune.rendering.panels import Panel, draw_panels
from tune.rendering.style import PAPER, drawing

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"

# Designs whose pages show these figures in addition to the differences.
_CURVES = ("figure3a-small", "figure4-small", "figure10-small")
_RATES = ("figure11-small",)


@dataclass(frozen=True)
class Arguments:
    """Run designs, or continue them, and write their pages.

    Example: python -m benchmarks.results table3-small figure2b-small figure3a-small figure4-small --cache cache
    """

    designs: Annotated[tuple[str, ...], tyro.conf.Positional]
    cache: Path = Path("cache")
    runs: Path = Path("runs")
    """The folder with one comparison folder per design; finished runs are not repeated."""
    docs: Path = RESULTS
    commit: str | None = None
    """The commit that trained the runs, if it is not that of this checkout."""


def main(arguments: Arguments) -> None:
    for design in arguments.designs:
        folder = arguments.runs / design
        argv = ["compare", design, "--cache", str(arguments.cache), "--out", str(folder)]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tune", *argv], check=True, stdout=subprocess.DEVNULL)
        print(f"{design}: {time.perf_counter() - start:.0f} s", flush=True)
        write_page(design, folder, arguments.docs, arguments.commit or _commit())


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parents[1], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def write_page(design: str, folder: Path, docs: Path, commit: str) -> None:
    """Write a design's page and its figures."""
    conclusion = conclude(read_comparison(folder), folder)
    docs.mkdir(parents=True, exist_ok=True)
    names = _write_figures(design, conclusion, docs)
    paper = paper_table(design)
    tables = [accuracy_table(conclusion), difference_table(conclusion)]
    matches = accuracies_at_equal_cost(conclusion)
    tables += [equal_cost_table(conclusion, matches)] if matches else []
    sentences = [f"- {line}" for line in (*conclusion.sentences(), *excluded_lines(conclusion.errors))]
    parts = [
        f"# {design}",
        _about(design, conclusion, commit),
        *(f"![{name.removesuffix('.svg')}]({name})" for name in names),
        "## What the data show\n\n" + "\n".join(sentences),
        *(table.markdown().rstrip() for table in tables),
        *([paper.markdown().rstrip()] if paper else []),
    ]
    write_whole(docs / f"{design}.md", lambda path: path.write_text("\n\n".join(parts) + "\n"))


def _about(design: str, conclusion: Conclusion, commit: str) -> str:
    count = len(conclusion.comparison.configs()) + len(conclusion.comparison.first_parts())
    runs = [outcome.run for outcome in conclusion.outcomes.values() if outcome.run is not None]
    spent = sum(row["epoch_s"] for run in runs for row in run.timings)
    first = runs[0]
    lines = {
        "Command": f"`spikeloom compare {shlex.quote(design)}`",
        "Commit": commit,
        "Date": str(first.environment.get("started"))[:10],
        "Runs": f"{count}, {spent / 60:.0f} minutes of training in total",
        "Machine": f"{len(os.sched_getaffinity(0))} cores, {first.environment.get('processor')}, {platform.system()}",
        "Data": ", ".join(dict.fromkeys(f"{v.dataset} ({v.test_samples} test samples)" for v in conclusion.results)),
    }
    return "\n".join(f"- {name}: {value}" for name, value in lines.items())


def _write_figures(design: str, conclusion: Conclusion, docs: Path) -> list[str]:
    names = []
    with drawing(PAPER):
        figures = {name: overview.draw(overview.about) for name, overview in overview_figures(conclusion).items()}
        for result in conclusion.results:
            where = f"{result.dataset}-".replace(" ", "-") if len(conclusion.results) > 1 else ""
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


if __name__ == "__main__":
    main(tyro.cli(Arguments))
