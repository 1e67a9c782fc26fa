"""spikeloom demo: the complete pipeline in minutes on a CPU."""

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

    If it is run again with the same folder, complete steps are reused and the others are run.

    Example: spikeloom demo --out demo
    """

    out: Path = Path("demo")
    """The folder to write."""


def run(argv: list[str]) -> None:
    """Run the demo, then print its results, what they mean and where the report is."""
    arguments = parse(Arguments, argv, prog="spikeloom demo")
    from tune.commands.demo_run import run_demo
    from tune.comparison.comparison_tables import accuracy_table
    from tune.comparison.conclusions import excluded_lines

    folder = arguments.out.expanduser().absolute()
    progress = progress_on_stderr()
    start = time.perf_counter()
    try:
        demo = run_demo(folder, progress)
    except (KeyboardInterrupt, Terminated):
        progress.note(f"finished steps are kept. Resume with: spikeloom demo --out {folder}")
        raise
    demo.findings.table().print()
    accuracy_table(demo.conclusion).print()
    for sentence in (*demo.conclusion.sentences(), *excluded_lines(demo.conclusion.errors)):
        print(sentence)
    print(
        "Synthetic data: a pipeline check from raw recordings to a comparison on this machine, not evidence about the "
        "neurons. An emulated event camera recorded these gestures, not a person."
    )
    print(f"Done in {time.perf_counter() - start:.0f} s. Open the report: {demo.report}")
