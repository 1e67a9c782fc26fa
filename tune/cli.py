"""spikeloom weaves event-camera recordings into trained, tuned and compared spiking networks."""

from __future__ import annotations

from pipeline.cli import VERBS as PIPELINE_VERBS
from preprocess.cli import VERBS as PREPROCESS_VERBS
from preprocess.terminal.command_line import Verb, run_main

VERBS = {
    "tune": Verb("search over T, tau, neuron and any other field", "tune.commands.tune"),
    "compare": Verb("the same runs with one neuron and another, paired by seed", "tune.commands.compare"),
    "status": Verb("how a search or comparison stands, from another shell", "tune.commands.status"),
    "cluster": Verb("this machine's part of a Ray cluster: up, down, status", "tune.commands.cluster"),
    "report": Verb("tables and pictures of a folder as one HTML page", "tune.commands.report"),
    "demo": Verb("emulate, preprocess, tune, compare and report, in minutes on a CPU", "tune.commands.demo"),
}


def main() -> int:
    """The console script: run one verb of all three packages; the exit code."""
    return run_main(PREPROCESS_VERBS | PIPELINE_VERBS | VERBS, prog="spikeloom", description=__doc__ or "")
