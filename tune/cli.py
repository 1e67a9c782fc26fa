"""Preprocess event-camera recordings, and train, tune and compare spiking neural networks on them."""

from __future__ import annotations

from pipeline.cli import VERBS as PIPELINE_VERBS
from preprocess.cli import VERBS as PREPROCESS_VERBS
from preprocess.terminal.command_line import Verb, run_main

VERBS = {
    "tune": Verb("search over T, tau, neuron and any other field", "tune.commands.tune"),
    "compare": Verb("compare neurons in otherwise equal runs, paired by seed", "tune.commands.compare"),
    "status": Verb("show the progress of a search or comparison", "tune.commands.status"),
    "cluster": Verb("start, join or leave a Ray cluster, or show its status", "tune.commands.cluster"),
    "report": Verb("write the tables and figures of a folder as one HTML page", "tune.commands.report"),
    "demo": Verb("run all steps on emulated data, in minutes on a CPU", "tune.commands.demo"),
}


def main() -> int:
    """The console script: run a command of any of the three packages; return the exit code."""
    return run_main(PREPROCESS_VERBS | PIPELINE_VERBS | VERBS, prog="spikeloom", description=__doc__ or "")
