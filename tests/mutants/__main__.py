"""python -m tests.mutants [WORD ...]: run the tests of every mutant, or of those whose title or file has a word."""

from __future__ import annotations

import argparse
import sys
import time

from .every_mutant import MUTANTS
from .mutation_run import Outcome, run_mutants


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description="Put known defects into copies of the sources, one at a time, and run the tests that must fail.",
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="only mutants whose title or file contains a word")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="run N mutants at a time (default: 1)")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    options = parser.parse_args(argv)
    words = [word.lower() for word in options.words]
    chosen = [each for each in MUTANTS if not words or any(w in f"{each.title} {each.file}".lower() for w in words)]
    if not chosen:
        parser.error(f"expected a word of a title or file, found {' '.join(options.words)}; see --list")
    if options.list:
        for mutant in chosen:
            print(f"{mutant.file}: {mutant.title}")
        return 0
    start = time.monotonic()
    outcomes = run_mutants(chosen, at_once=options.at_once, report=_print)
    caught = sum(outcome.state == "caught" for outcome in outcomes)
    print(f"{caught} of {len(outcomes)} mutants caught in {time.monotonic() - start:.0f} s")
    return int(any(outcome.state not in ("caught", "does not run here") for outcome in outcomes))


def _print(outcome: Outcome) -> None:
    mutant = outcome.mutant
    details = f" ({outcome.details})" if outcome.details else ""
    print(f"{outcome.state:>17} {outcome.seconds:5.1f} s  {mutant.file}: {mutant.title}{details}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
