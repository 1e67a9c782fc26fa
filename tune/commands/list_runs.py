"""spikeloom runs, with the searches of objectives, which contain no run folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.commands.runs import Arguments, collect_rows, no_runs, print_table, report_left_out
from preprocess.errors import RunError
from preprocess.terminal.command_line import parse
from tune.objective.objective_findings import ObjectiveFindings, read_objective
from tune.objective.objective_folder import FILE
from tune.rendering.table import Table


def run(argv: list[str]) -> None:
    """Print the runs, then the searches of objectives; a line on stderr for each damaged one."""
    arguments = parse(Arguments, argv, prog="spikeloom runs")
    folder = arguments.dir.expanduser().absolute()
    rows, left_out = collect_rows(folder)
    searches = []
    for path in sorted(path.parent for path in folder.rglob(FILE)):
        try:
            searches.append(read_objective(path))
        except RunError as error:
            left_out += report_left_out(error)
    if not rows and not searches:
        raise no_runs(folder)
    if arguments.json:
        found = [_described(search, folder) for search in searches]
        print(json.dumps({"runs": rows, "objectives": found, "left_out": left_out}))
        return
    if rows:
        print_table(rows)
    if searches:
        _table(searches, folder).print()


def _described(found: ObjectiveFindings, base: Path) -> dict[str, Any]:
    return {
        "search": str(found.folder.relative_to(base)),
        "objective": found.search.name,
        "space": found.search.space,
        "trials": len(found.rows),
        "done": len(found.ranked),
        "best": found.ranked[0] if found.ranked else None,
        "alive": found.alive,
    }


def _table(searches: list[ObjectiveFindings], base: Path) -> Table:
    cells = []
    for found in searches:
        best = found.ranked[0] if found.ranked else None
        score, values = ("–", "–") if best is None else (f"{best['score']:.4g}", found.describe_values(best))
        cells.append((str(found.folder.relative_to(base)), found.search.name, found.counts(), score, values))
    columns = ("search", "objective", "trials", "best score", "best values")
    return Table("Searches of objectives", columns, tuple(cells), "lllrl", note="Trials: spikeloom status DIR")
