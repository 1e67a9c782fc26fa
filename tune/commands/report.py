"""spikeloom report: the tables and figures of a folder as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from preprocess.terminal.command_line import parse


@dataclass(frozen=True)
class Arguments:
    """Write DIR/report.html: one self-contained page on a run, a search, a comparison, or a folder of several of them.

    Damaged runs are listed on the page and excluded from its numbers.

    Example: spikeloom report runs/compare-n-mnist-small-1
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """A folder that spikeloom train, tune, compare or demo wrote."""
    accept_changed_code: bool = False
    """Report although a custom neuron or network file has changed since the training; the page lists the changes and
    shows no spikes of that network."""
    paper: bool = False
    """Also write DIR/paper/: every table as .md and .tex (LaTeX package booktabs), every figure as .svg and .pdf. This
    doubles the time."""


def run(argv: list[str]) -> None:
    """Write the page and the files for a paper, and print their paths; the first line is the page's."""
    arguments = parse(Arguments, argv, prog="spikeloom report")
    from tune.report import read_report
    from tune.report.paper_files import count_files

    report = read_report(arguments.folder, accept_changed_code=arguments.accept_changed_code)
    print(report.write_page())
    if arguments.paper:
        print(f"{report.folder / 'paper'}: {count_files(report.write_paper())}")
