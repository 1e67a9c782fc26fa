"""spikeloom analyse: how a network works, besides its accuracy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipeline.analysis.analysis_options import AnalysisOptions
from pipeline.analysis.registry import ANALYSES, find_analysis
from preprocess.terminal.command_line import UsageError, parse
from preprocess.terminal.option_help import Option, options_of, print_options
from preprocess.terminal.progress import progress_on_stderr

_PROG = "spikeloom analyse"


@dataclass(frozen=True)
class Arguments:
    """The arguments of every analysis."""

    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR|PRESET")]
    """A run folder, as written by train, or the name of a preset, whose network has its initial weights."""
    analysis: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ANALYSIS")]
    """The name of the analysis."""
    cache: Path | None = None
    """Folder of all caches (default: that of the run, or else $SPIKELOOM_CACHE, or ./cache)."""
    out: Path | None = None
    """Folder to write the results to (default: RUN_DIR/analysis, or ./runs/analyse-<preset>-<number>). The report shows
    those in RUN_DIR/analysis."""
    device: str | None = None
    """Device to compute on (default: that of the run)."""
    accept_changed_code: bool = False
    """Analyse although a custom neuron or network file changed since the training."""
    json: bool = False
    """Print the result as one JSON object instead of tables."""


def run(argv: list[str]) -> None:
    """Run one analysis, write ``<analysis>.json`` and ``<analysis>.svg``, and print its tables."""
    if {"-h", "--help"} & set(argv):
        _print_help(argv)
        return
    name = _analysis_in(argv)
    analysis = find_analysis(name)
    arguments, options = _parse(argv, analysis.options)
    from pipeline.analysis.analysed_network import open_analysed
    from tune.analysis_views.registry import draw_analysis, view_of

    analysed = open_analysed(
        arguments.target,
        cache=arguments.cache,
        device=arguments.device,
        accept_changed_code=arguments.accept_changed_code,
        progress=progress_on_stderr(),
    )
    folder = analysed.default_folder() if arguments.out is None else arguments.out.expanduser().absolute()
    result = analysis.run(analysed, options)
    path = result.write(folder)
    figure = draw_analysis(result, folder)
    if arguments.json:
        print(json.dumps(result.to_json()))
        return
    view = view_of(result)
    print(f"{analysis.title}: {result.subject.about}")
    print(view.lead)
    for table in view.tables:
        table.print()
    print(f"result: {path}\nfigure: {figure}")


def _analysis_in(argv: Sequence[str]) -> str:
    """The name of the analysis, which is the second argument; options come after it."""
    given = [part for part in argv[:2] if not part.startswith("-")]
    if len(given) == 2:
        return given[1]
    raise UsageError(
        f"expected RUN_DIR or PRESET, and then ANALYSIS ({', '.join(ANALYSES)}), found "
        f"{' '.join(argv[:2]) or 'neither'}. See: {_PROG} --help"
    )


def _parse(argv: Sequence[str], kind: type[AnalysisOptions]) -> tuple[Arguments, AnalysisOptions]:
    """Parse the arguments of every analysis together with the options of one of them."""
    flat = tyro.conf.arg(name="")
    entries = [("common", Annotated[(Arguments, flat)]), ("options", Annotated[(kind, flat)])]
    parsed: Any = parse(make_dataclass("AnalyseArguments", entries), argv, prog=_PROG)
    return parsed.common, parsed.options


def _print_help(argv: Sequence[str]) -> None:
    """Print the help of the analysis that is named, or of all of them."""
    named = [part for part in argv if part in ANALYSES]
    options: list[Option] = options_of(Arguments)
    if named:
        kind: type[Any] = ANALYSES[named[0]].options
        print_options(kind, [*options, *options_of(kind)], _PROG)
        return
    width = max(map(len, ANALYSES))
    lines = [f"  {name:<{width}}  {analysis.summary}" for name, analysis in ANALYSES.items()]
    text = "\n\n".join(
        [
            "Analyse how the network of a run works: write RUN_DIR/analysis/ANALYSIS.json and .svg, and print tables.",
            "\n".join(["Analyses:", *lines]),
            "Example: spikeloom analyse runs/train-n-mnist-small-1 rates",
            "The options of one analysis: spikeloom analyse RUN_DIR rates --help",
        ]
    )
    print_options(type("Analyses", (), {"__doc__": text}), options, _PROG)
