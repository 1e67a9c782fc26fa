"""From event-camera recordings to trained, tuned and compared spiking networks."""

from __future__ import annotations

from pipeline.cli import VERBS as PIPELINE_VERBS
from preprocess.cli import VERBS as PREPROCESS_VERBS
from preprocess.terminal.command_line import Verb, run_main

VERBS = {
    "tune": Verb("search over T, tau, neuron and any other field", "tune.commands.tune"),
    "compare": Verb("train with different neurons and compare them, paired by seed", "tune.commands.compare"),
    "status": Verb("show the progress of a search or comparison", "tune.commands.status"),
    "cluster": Verb("start, stop or show the Ray cluster on this machine: up, down, status", "tune.commands.cluster"),
    "report": Verb("write an HTML page with the tables and figures of a folder", "tune.commands.report"),
    "demo": Verb("run the whole pipeline on emulated data, in minutes on a CPU", "tune.commands.demo"),
}


def main() -> int:
    """Run a command of any of the three packages (the console script); return the exit code."""
    return run_main(PREPROCESS_VERBS | PIPELINE_VERBS | VERBS, prog="spikeloom", description=__doc__ or "")
