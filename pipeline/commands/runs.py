"""spikeloom runs: list the runs in a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipeline.runs.run_folder import Run, find_runs, open_run
from pipeline.runs.trained_neuron import is_configured_neuron, network_label, neuron_title
from preprocess.datasets.emulated_names import is_emulated
from preprocess.errors import RunError, SpikeloomError
from preprocess.terminal.command_line import parse


@dataclass(frozen=True)
class Arguments:
    """List all runs in a folder and its subfolders, finished or not. Damaged runs are reported and left out.

    Example: spikeloom runs runs
    """

    dir: Annotated[Path, tyro.conf.Positional]
    """A folder with runs, searches or comparisons."""
    json: bool = False
    """Print one JSON object with the runs, and the reasons why others are left out, instead of a table."""


def run(argv: list[str]) -> None:
    """Print the runs; a line on stderr for each damaged one."""
    arguments = parse(Arguments, argv, prog="spikeloom runs")
    folder = arguments.dir.expanduser().absolute()
    rows, left_out = collect_rows(folder)
    if not rows:
        raise no_runs(folder)
    if arguments.json:
        print(json.dumps({"runs": rows, "left_out": left_out}))
    else:
        print_table(rows)


def collect_rows(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each run in a folder, and the reasons why others are left out, which are also printed on stderr."""
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for path in find_runs(folder):
        try:
            rows.append(_row(open_run(path), folder))
        except SpikeloomError as error:
            left_out += report_left_out(error)
    return rows, left_out


def report_left_out(error: SpikeloomError) -> list[str]:
    """Print on stderr why something is left out; returns the reasons."""
    for message in error.errors:
        print(f"spikeloom: left out: {message}", file=sys.stderr)
    return list(error.errors)


def no_runs(folder: Path) -> RunError:
    """The error for a folder without runs."""
    return RunError(f"{folder}: expected at least one run, found none. Train one: spikeloom train PRESET")


def _row(opened: Run, base: Path) -> dict[str, Any]:
    config = opened.config
    result: Mapping[str, Any] = opened.result or {}
    last = opened.metrics[-1] if opened.metrics else {}
    configured = is_configured_neuron(config, opened.environment)
    return {
        "run": str(opened.folder.relative_to(base)),
        "dataset": config.dataset.name,
        "split": config.dataset.split_title,
        "network": config.network.name,
        "network_label": network_label(config),
        # A custom network may have its own neurons, whatever the configuration says.
        "neuron": config.neuron.name if configured else None,
        "tau": config.neuron.tau if configured else None,
        "neuron_title": neuron_title(config, opened.environment),
        "timesteps": result.get("timesteps", None if config.binning.varies else config.binning.timesteps),
        "steps": config.binning.steps_title,
        "seed": config.seed,
        "epochs": f"{len(opened.metrics)}/{config.schedule.last_epoch}",
        "selection": config.selection,
        "validation_accuracy": result.get("validation_accuracy", last.get("validation_accuracy")),
        "test_accuracy": result.get("test_accuracy"),
        "firing_rate": result.get("firing_rate", last.get("firing_rate")),
        "emulated": result.get("emulated", is_emulated(config.dataset.name)),
        "finished": opened.result is not None,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the runs with a line for each."""
    from rich import box
    from rich.table import Table

    from pipeline.commands.tables import data_name, per_cent
    from preprocess.terminal.console import console

    table = Table(title="Runs (accuracies in per cent)", box=box.SIMPLE_HEAD)
    table.add_column("run", overflow="fold", min_width=12)
    for name in ("data set, split", "network", "neuron", "seed", "epochs", "selection"):
        table.add_column(name, overflow="fold")
    for name in ("validation", "test", "firing rate"):
        table.add_column(name, justify="right")
    for row in rows:
        data = f"{data_name(row)}, {row['split']}"
        neuron = f"{row['neuron_title']}, {row['steps']}"
        rate = "" if row["firing_rate"] is None else f"{row['firing_rate']:.4f}"
        measured = (per_cent(row["validation_accuracy"]), per_cent(row["test_accuracy"]), rate)
        described = (row["run"], data, row["network_label"], neuron, str(row["seed"]), row["epochs"], row["selection"])
        table.add_row(*described, *measured)
    console().print(table)
