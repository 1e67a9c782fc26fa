"""Preprocess event-camera recordings, and train, tune and compare spiking neural networks on them."""

from __future__ import annotations

from pipeline.cli import COMMANDS as PIPELINE_COMMANDS
from preprocess.cli import COMMANDS as PREPROCESS_COMMANDS
from preprocess.terminal.command_line import Command, run_main

COMMANDS = {
    # As that of pipeline, with the searches of objectives.
    "runs": Command(PIPELINE_COMMANDS["runs"].summary, "tune.commands.list_runs"),
    "tune": Command("search over T, tau, neuron and any other field", "tune.commands.tune"),
    "compare": Command("compare neurons in otherwise equal runs, paired by seed", "tune.commands.compare"),
    "analyse": Command("analyse how a network works: firing rates and more", "tune.commands.analyse"),
    "status": Command("show the progress of a search or comparison", "tune.commands.status"),
    "cluster": Command("start, join or leave a Ray cluster, or show its status", "tune.commands.cluster"),
    "report": Command("write the tables and figures of a folder as one HTML page", "tune.commands.report"),
    "demo": Command("run all steps on emulated data, in minutes on a CPU", "tune.commands.demo"),
}


def main() -> int:
    """The console script: run a command of any of the three packages; return the exit code."""
    return run_main(PREPROCESS_COMMANDS | PIPELINE_COMMANDS | COMMANDS, prog="spikeloom", description=__doc__ or "")
