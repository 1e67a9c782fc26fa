"""spikeloom report: tables and pictures of a folder as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from preprocess.terminal.command_line import parse


@dataclass(frozen=True)
class Arguments:
    """Write DIR/report.html: one page that needs no network, of a run, a search, a comparison, or a folder of these.

    Damaged runs are listed on the page and left out of its numbers.

    Example: spikeloom report runs/compare-n-mnist-small-1
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """What spikeloom train, tune, compare or demo wrote."""
    accept_changed_code: bool = False
    """Report although a neuron or network file of your own changed since the training; the page lists it, and shows no
    spikes of that network."""
    paper: bool = False
    """Write DIR/paper/ as well: every table as .md and .tex (for LaTeX's package booktabs), every figure as .svg and
    .pdf. Their fonts take as long as the page."""


def run(words: list[str]) -> None:
    """Write the page and the files for a paper, and say where they are: the first line is the page's path."""
    arguments = parse(Arguments, words, prog="spikeloom report")
    from tune.report import read_report
    from tune.report.paper_files import count_words

    report = read_report(arguments.folder, accept_changed_code=arguments.accept_changed_code)
    print(report.write_page())
    if arguments.paper:
        print(f"{report.folder / 'paper'}: {count_words(report.write_paper())}")
