"""A report's files for a paper: tables that LaTeX reads, figures that say what they were measured on."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import CONFIG, write_comparison, write_run

from tune.rendering.table import Table
from tune.report import read_report
from tune.report.paper_files import count_files


@pytest.mark.slow
def test_every_table_and_figure_is_a_file_of_each_kind(tmp_path: Path):
    write_comparison(tmp_path, {"lif": [30, 31], "clif": [31, None]})
    paths = read_report(tmp_path).write_paper()
    assert count_files(paths) == "6 tables (.md, .tex) and 7 figures (.svg, .pdf)"
    assert sorted(paths) == sorted((tmp_path / "paper").iterdir())
    names = {path.name for path in paths}
    assert {
        "table-lif-against-clif-on-emulated-gestures.tex",
        "figure-training-loss.pdf",
        "figure-confusion-lif.svg",
    } <= names
    assert all(path.read_bytes().startswith(b"%PDF") for path in paths if path.suffix == ".pdf")


@pytest.mark.slow
def test_figures_say_that_data_are_emulated_and_have_no_page_s_colours(tmp_path: Path):
    write_run(tmp_path, CONFIG)
    figures = [path.read_text() for path in read_report(tmp_path).write_paper() if path.suffix == ".svg"]
    assert figures
    assert all("LIF on emulated-gestures, T = 4; emulated data" in svg for svg in figures)
    assert all("#010203" not in svg and "var(" not in svg for svg in figures)


@pytest.mark.slow
def test_a_report_that_is_made_again_writes_the_same_files(tmp_path: Path):
    write_run(tmp_path, CONFIG)
    first = {path: path.read_bytes() for path in read_report(tmp_path).write_paper()}
    assert {path: path.read_bytes() for path in read_report(tmp_path).write_paper()} == first


@pytest.mark.slow
def test_files_of_several_parts_are_named_after_their_folders(tmp_path: Path):
    write_run(tmp_path / "one", CONFIG)
    write_run(tmp_path / "two", CONFIG)
    names = {path.name for path in read_report(tmp_path).write_paper()}
    assert {"one-table-lif-by-class.tex", "two-table-lif-by-class.tex", "two-figure-loss.pdf"} <= names


def test_latex_escapes_what_it_would_read_as_commands_and_rules_off_the_summary():
    rows = (("a_b & {c} \\ ~^", "94.2 ± 0.3"), ("mean", "−0.2"))
    table = Table("100 % of τ #1", ("field", "gain, $"), rows, "lr", note="5 × 2 – more", summary=1)
    assert table.latex().splitlines() == [
        r"\begin{table}",
        r"  \centering",
        r"  \caption{100 \% of $\tau$ \#1}",
        r"  \begin{tabular}{lr}",
        r"    \toprule",
        r"    field & gain, \$ \\",
        r"    \midrule",
        r"    a\_b \& \{c\} \textbackslash{} \textasciitilde{}\textasciicircum{} & 94.2 $\pm$ 0.3 \\",
        r"    \midrule",
        r"    mean & $-$0.2 \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"  \par\smallskip{\footnotesize 5 $\times$ 2 -- more}",
        r"\end{table}",
    ]
