"""Analyse every run of a design, and write a page with their measures by seed: ``python -m benchmarks.analyses``.

docs/results/analyses.md    how trained networks of the neurons work: gradients, rates, energy, robustness, inference
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.analyses_page import SECTIONS, section_table
from benchmarks.results_index import ANALYSES_NAME, RESULTS, checkout_commit, write_index
from pipeline.analysis.analysed_network import open_analysed
from pipeline.analysis.analysis_options import (
    AnalysisOptions,
    EnergyOptions,
    GradientOptions,
    InferenceOptions,
    RateOptions,
    RobustnessOptions,
)
from pipeline.analysis.registry import find_analysis
from pipeline.analysis.stored_result import AnalysisResult, Subject, read_result
from pipeline.analysis.weights_digest import weights_digest
from pipeline.runs.run_folder import Run
from preprocess.errors import RunError
from preprocess.files import write_whole
from tune.comparison.comparison_plan import read_comparison
from tune.comparison.conclusions import conclude
from tune.rendering.labels import neuron_label

# Delete runs/analyses after a change: stored results are told apart by their weights alone.
OPTIONS: dict[str, AnalysisOptions] = {
    "gradients": GradientOptions(samples=256),
    "rates": RateOptions(samples=2000),
    "energy": EnergyOptions(samples=2000),
    "robustness": RobustnessOptions(
        samples=2000,
        noise=(0.5, 1.0),
        hot_pixels=(10,),
        dropped=(0.5,),
        jitter_ms=(30.0,),
    ),
    "inference": InferenceOptions(samples=2000),
}

Results = dict[str, dict[int, AnalysisResult]]
"""By neuron and seed."""


@dataclass(frozen=True)
class Arguments:
    """Analyse the runs of a design that has been run, or continue, and write the page.

    Example: python -m benchmarks.analyses table2-small --cache cache
    """

    design: tyro.conf.Positional[str] = "table2-small"
    cache: Path = Path("cache")
    runs: Path = Path("runs")
    """The folder with one comparison folder per design; results are kept in its folder analyses."""
    docs: Path = RESULTS
    commit: str | None = None
    """The commit that trained the runs, if it is not that of this checkout."""


def main(arguments: Arguments) -> None:
    found: dict[str, Results] = {section.analysis: {} for section in SECTIONS}
    processors = dict[str, None]()
    for neuron, seed, run in _runs(arguments.runs / arguments.design):
        processors[str(run.environment.get("processor"))] = None
        folder = arguments.runs / "analyses" / arguments.design / f"{neuron}-{seed}"
        for analysis, results in found.items():
            results.setdefault(neuron, {})[seed] = analysed(analysis, run, arguments.cache, folder)
        print(f"{arguments.design}: {neuron}, seed {seed}", flush=True)
    commit, processor = arguments.commit or checkout_commit(), " and ".join(processors)
    text = page_text(arguments.design, found, commit, processor)
    write_whole(arguments.docs / ANALYSES_NAME, lambda path: path.write_text(text, "utf-8"))
    write_index(arguments.docs)


def _runs(folder: Path) -> Iterator[tuple[str, int, Run]]:
    """The runs of a design; RunError if it has several settings, or a run is missing."""
    comparison = read_comparison(folder)
    if len(comparison.settings) > 1:
        raise RunError(
            f"{folder}: expected a design of one setting, found {len(comparison.settings)}. Analyse table2-small."
        )
    for outcome in conclude(comparison, folder).outcomes.values():
        if outcome.run is None:
            raise RunError(f"{folder}: expected every run to be finished, found {outcome.missing}. Run it again.")
        yield outcome.run.config.neuron.name, outcome.seed, outcome.run


def analysed(analysis: str, run: Run, cache: Path, folder: Path) -> AnalysisResult:
    """The result of an analysis of a run; one of the same weights that is there is read.

    Args:
        analysis: Its name.
        run: The run.
        cache: The folder of all caches.
        folder: Where the result is kept.
    """
    kind = find_analysis(analysis)
    stored = read_result(kind.result_class, folder)
    if stored is not None and stored.subject.weights == weights_digest(run.folder):
        return stored
    result = kind.run(open_analysed(run.folder, cache=cache, device="cpu"), OPTIONS[analysis])
    result.write(folder)
    return result


def page_text(design: str, found: dict[str, Results], commit: str, processor: str) -> str:
    """The page.

    Args:
        design: The name of the design.
        found: The results by analysis, neuron and seed.
        commit: The commit that trained the runs.
        processor: The kind of processor that they were trained on.
    """
    some = next(iter(found.values()))
    subject = _subject(some)
    seeds = sorted(next(iter(some.values())))
    samples = ", ".join(
        f"{analysis} {_subject(results).samples} ({_subject(results).part})" for analysis, results in found.items()
    )
    lines = {
        "Question": "How do trained networks of LIF, CLIF and its controls differ in how they work?",
        "Runs": f"the settings of [{design}]({design}.md): {', '.join(map(neuron_label, some))}; "
        f"{len(seeds)} seeds each, {seeds[0]} to {seeds[-1]}; trained on {processor} (a CPU of another kind rounds "
        "differently, and its runs are others)",
        "Network": f"{subject.network}, T = {subject.timesteps}, tau = {subject.tau:g}, {subject.dataset}",
        "Samples": samples,
        "Command": f"`python -m benchmarks.analyses {design}`",
        "Commit": commit,
        "Machine": f"{len(os.sched_getaffinity(0))} cores, {platform.system()}",
    }
    parts = [
        "# Analyses by seed",
        "[The analyses](../science.md) of every run of a design, so that differences between neurons can be told from "
        "those between seeds.",
        "\n".join(f"- {name}: {value}" for name, value in lines.items()),
        *(section_table(section, found[section.analysis]).markdown().rstrip() for section in SECTIONS),
    ]
    return "\n\n".join(parts) + "\n"


def _subject(results: Results) -> Subject:
    return next(iter(next(iter(results.values())).values())).subject


if __name__ == "__main__":
    main(tyro.cli(Arguments))
