"""Run designs and write a page with the results of each: ``python -m benchmarks.results``.

docs/results/<design>.md    question, verdict, whether runs had converged, command, commit, training time and machine;
                            figures, conclusions, tables and each seed's counts; the settings that the design changes;
                            and the paper's results in a separate table
docs/results/README.md      a line for each page (`benchmarks.results_index`)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.results_index import RESULTS, checkout_commit, write_index
from benchmarks.results_page import write_page
from pipeline.config.run_config import RunConfig
from preprocess.files import read_json, write_json
from tune.commands.compare import parse_arguments, plan_comparison
from tune.comparison.comparison_plan import FILE, Comparison
from tune.trials.ledger import BASIS, Ledger


@dataclass(frozen=True)
class Arguments:
    """Run designs, or continue them, and write their pages and the index.

    Example: python -m benchmarks.results table3-small figure2b-small figure3a-small figure4-small --cache cache
    """

    designs: Annotated[tuple[str, ...], tyro.conf.Positional]
    cache: Path = Path("cache")
    runs: Path = Path("runs")
    """The folder with one comparison folder per design; finished runs are not repeated, and those that several designs
    have in common are trained once."""
    docs: Path = RESULTS
    commit: str | None = None
    """The commit that trained the runs, if it is not that of this checkout."""
    page_only: bool = False
    """Write the page from the runs that are there, without training."""


def main(arguments: Arguments) -> None:
    for design in arguments.designs:
        folder = arguments.runs / design
        if not arguments.page_only:
            argv = [design, "--cache", str(arguments.cache), "--out", str(folder)]
            taken = take_common_runs(plan_comparison(parse_arguments(argv)), folder)
            start = time.perf_counter()
            _compare(argv)
            print(f"{design}: {time.perf_counter() - start:.0f} s, {taken} runs of other designs", flush=True)
        write_page(design, folder, arguments.docs, arguments.commit or checkout_commit())
        write_index(arguments.docs)


def _compare(argv: list[str]) -> None:
    """Run the comparison in a process of its own; its messages are on stderr already if it ends with an error."""
    program = [sys.executable, "-m", "tune", "compare", *argv]
    try:
        code = subprocess.run(program, check=False, stdout=subprocess.DEVNULL).returncode
    except KeyboardInterrupt:
        code = 130
    if code:
        sys.exit(code)


def take_common_runs(planned: Comparison, folder: Path) -> int:
    """Copy finished runs of the same configuration from the folders beside it; the number of copied runs.

    A run is the same whichever design it belongs to, as long as the data are: `basis.json` is copied with it, so that
    `compare` refuses runs on another version of a data set.

    Args:
        planned: The comparison as the command would declare it.
        folder: Its folder, existing or not.
    """
    mine = read_json(folder / BASIS) or {}
    ledger, taken = Ledger(folder), 0
    for other in sorted(path for path in folder.parent.glob("*") if path != folder and (path / FILE).is_file()):
        theirs, basis = Ledger(other), read_json(other / BASIS) or {}
        if any(mine.get(what, basis[what]) != basis[what] for what in basis):
            continue
        for config in _every_round(planned):
            record = None if ledger.is_final(config) else theirs.read_done(config)
            if record is None or record["status"] != "done":
                continue
            if not (folder / FILE).is_file():
                folder.mkdir(parents=True, exist_ok=True)
                planned.declare(0).write(folder)
            _copy_run(theirs.trial_folder(config), ledger.trial_folder(config))
            mine |= basis
            write_json(folder / BASIS, mine)
            taken += 1
    return taken


def _every_round(planned: Comparison) -> Iterator[RunConfig]:
    """The runs of the first round, and of those with doubled epochs."""
    yield from planned.first_parts()
    yield from planned.configs()
    while planned.auto is not None and 2 * planned.longest <= planned.auto.most:
        planned = planned.stretched(2)
        yield from planned.configs()


def _copy_run(source: Path, target: Path) -> None:
    """Copy a run's folder as a whole: an interrupted copy is not taken for a finished run."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
