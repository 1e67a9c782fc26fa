"""spikeloom runs: every run below a folder."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipeline.runs import Run, find_runs, open_run
from preprocess.command_line import parse
from preprocess.errors import RunError, SpikeloomError


@dataclass(frozen=True)
class Arguments:
    """List every run at or below a folder, finished or not; damaged ones are named and left out.

    Example: spikeloom runs runs
    """

    dir: Annotated[Path, tyro.conf.Positional]
    """A folder of runs, searches or comparisons."""
    json: bool = False
    """Print one JSON object with a list of runs instead of a table."""


def run(words: list[str]) -> None:
    """Print the runs; a line on stderr for each damaged one."""
    arguments = parse(Arguments, words, prog="spikeloom runs")
    folder = arguments.dir.expanduser().absolute()
    rows = []
    for path in find_runs(folder):
        try:
            rows.append(_row(open_run(path), folder))
        except SpikeloomError as error:
            for fault in error.faults:
                print(f"spikeloom: left out: {fault}", file=sys.stderr)
    if not rows:
        raise RunError(f"{folder}: expected at least one run, found none. Make one: spikeloom train PRESET")
    if arguments.json:
        print(json.dumps({"runs": rows}))
    else:
        _print_table(rows)


def _row(there: Run, below: Path) -> dict[str, Any]:
    config, result = there.config, there.result or {}
    last = there.metrics[-1] if there.metrics else {}
    return {
        "run": str(there.folder.relative_to(below)),
        "dataset": config.dataset.name,
        "split": config.dataset.split,
        "network": config.network.name,
        "neuron": config.neuron.name,
        "tau": config.neuron.tau,
        "timesteps": config.binning.timesteps,
        "seed": config.seed,
        "epochs": f"{len(there.metrics)}/{config.schedule.epochs}",
        "selection": config.selection,
        "validation_accuracy": result.get("validation_accuracy", last.get("validation_accuracy")),
        "test_accuracy": result.get("test_accuracy"),
        "firing_rate": result.get("firing_rate", last.get("firing_rate")),
        "emulated": result.get("emulated", config.dataset.name.startswith("emulated-")),
        "finished": there.result is not None,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from pipeline.tables import data_name, per_cent

    table = Table(title="Runs; accuracies in per cent")
    for name in ("run", "data set", "split", "network", "neuron", "tau", "T", "seed", "epochs", "selection"):
        table.add_column(name, overflow="fold")
    for name in ("validation", "test", "firing rate"):
        table.add_column(name, justify="right")
    for row in rows:
        told = [row[name] for name in ("run", "split", "network", "neuron", "tau", "timesteps", "seed", "epochs")]
        words = [str(value) for value in told]
        rate = "" if row["firing_rate"] is None else f"{row['firing_rate']:.4f}"
        measured = (per_cent(row["validation_accuracy"]), per_cent(row["test_accuracy"]), rate)
        table.add_row(words[0], data_name(row), *words[1:], row["selection"], *measured)
    Console().print(table)
