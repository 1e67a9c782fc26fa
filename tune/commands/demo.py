"""spikeloom demo: the whole road in minutes on a CPU."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from preprocess.interrupts import Terminated
from preprocess.terminal.command_line import parse
from preprocess.terminal.progress import progress_on_stderr


@dataclass(frozen=True)
class Arguments:
    """Emulate gestures, preprocess, tune, compare LIF with CLIF, and write one report, in minutes on two CPU cores.

    Run again into the same folder, it takes what is whole and does the rest.

    Example: spikeloom demo --out demo
    """

    out: Path = Path("demo")
    """The folder to write."""


def run(words: list[str]) -> None:
    """Run the demo, then say what came of it, what it means and where the report is."""
    arguments = parse(Arguments, words, prog="spikeloom demo")
    from tune.commands.demo_run import run_demo
    from tune.comparison.conclusions import excluded_lines
    from tune.comparison.tables import accuracy_table

    folder = arguments.out.expanduser().absolute()
    progress = progress_on_stderr()
    start = time.perf_counter()
    try:
        demo = run_demo(folder, progress)
    except (KeyboardInterrupt, Terminated):
        progress.note(f"what is finished is kept; go on with: spikeloom demo --out {folder}")
        raise
    demo.findings.table().print()
    accuracy_table(demo.conclusion).print()
    for sentence in (*demo.conclusion.sentences(), *excluded_lines(demo.conclusion.errors)):
        print(sentence)
    print(
        "An emulated event camera filmed these gestures: the demo shows every step from raw recordings to a comparison "
        "at work on this machine, and nothing about recordings of people."
    )
    print(f"Done in {time.perf_counter() - start:.0f} s. Open the report: {demo.report}")
