"""Tables of benchmarks in the pages of the documentation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

LEFT_OUT = ("target", "reached")
"""Columns that are for developers."""


@dataclass(frozen=True)
class Summary:
    """A row of README.md.

    Attributes:
        part: The benchmark.
        work: Start of the row's first cell in its table.
        title: What README calls it.
        peer: Start of the row's peer, where several rows are of the same work.
    """

    part: str
    work: str
    title: str
    peer: str = ""


def table_lines(printed: str) -> list[str]:
    """The last Markdown table in a benchmark's output, without the columns in `LEFT_OUT` and empty columns.

    Raises:
        SystemExit: If there is none.
    """
    tables = [list(lines) for is_row, lines in itertools.groupby(printed.splitlines(), _is_row) if is_row]
    rows = [cells_of(line) for line in tables[-1]] if tables else []
    if len(rows) < 3:
        raise SystemExit(f"benchmarks: expected a table in the benchmark's output, found {printed[-200:]!r}")
    heads, _, *body = rows
    for row in body:
        if "peer" in heads and not row[heads.index("peer")]:
            # The figure itself, as its target is.
            row[heads.index("ratio")] = ""
    kept = [i for i, head in enumerate(heads) if head not in LEFT_OUT and any(row[i] for row in body)]
    return markdown([heads[i] for i in kept], [[row[i] for i in kept] for row in body])


def _is_row(line: str) -> bool:
    return line.startswith("|")


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def row_cells(table: Sequence[str], row: Summary) -> list[str] | None:
    """README's cells of the first row of a table that fits; None if there is none."""
    heads, _, *body = map(cells_of, table)
    for cells in body:
        found = dict(zip(heads, cells, strict=True))
        if found["work"].startswith(row.work) and found["peer"].startswith(row.peer):
            return [row.title, found["spikeloom"], found["peer"], f"{found['ratio']}×"]
    return None


def summary_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of README's table."""
    return markdown(["work", "spikeloom", "peer", "ratio"], rows)


def replace_block(page: str, name: str, lines: Sequence[str], path: str) -> str:
    """Replace what is between a page's marker of that name and the next end marker.

    Raises:
        SystemExit: If the page has no such markers.
    """
    start, end = f"<!-- measured: {name} -->\n", "<!-- end -->"
    before, marker, rest = page.partition(start)
    _, closing, after = rest.partition(end)
    if not (marker and closing):
        raise SystemExit(f"benchmarks: {path}: expected {start.strip()} and {end} around a table, found none.")
    return before + start + "\n" + "\n".join(lines) + "\n\n" + end + after
