"""python -m tests.fuzz [TARGET ...]: look for inputs that the readers neither read nor refuse in a line."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from .supervisor import Limits, Summary, fuzz
from .worker import REPOSITORY

FINDINGS = Path("runs/fuzz")
ENGINES = ("atheris", "mutator")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Read changed files with the readers of the product. Each is read, or refused with one line per "
        "error; everything else is kept as a finding.",
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="names of targets (default: all; see --list)")
    parser.add_argument("--seconds", type=float, default=600.0, help="processor time for each target (default: 600)")
    parser.add_argument("--engine", choices=ENGINES, help="default: atheris if it is installed, else mutator")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default: 0)")
    parser.add_argument("--hang", type=float, default=20.0, help="processor time of an input that hangs (default: 20)")
    parser.add_argument("--memory", type=int, default=512, help="MB that an input may need (default: 512)")
    parser.add_argument("--findings", type=Path, default=FINDINGS, help=f"folder of findings (default: {FINDINGS})")
    parser.add_argument("--module", default="every_target", help="module of this package with the targets")
    parser.add_argument("--without-bounds-checks", action="store_true", help="use kernels as users have them")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="read one file with the only target, and print what it does"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    options = parser.parse_args(argv)
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "mutator")
    sys.path.insert(0, str(REPOSITORY / "tests"))
    known = importlib.import_module(f".{options.module}", __package__).TARGETS
    unknown = [name for name in options.targets if name not in known]
    if unknown:
        parser.error(f"expected names of targets, found {', '.join(unknown)}; see --list")
    if options.list:
        print("\n".join(known))
        return 0
    chosen = options.targets or list(known)
    if options.replay is not None:
        if len(chosen) != 1:
            parser.error("expected one target for --replay")
        return replay(known[chosen[0]], options.replay)
    print(f"{'target':<24} {'engine':<8} {'seconds':>7} {'inputs':>9} {'read':>6} {'slowest':>8}  findings", flush=True)
    summaries = []
    for name in chosen:
        limits = Limits(options.hang, options.memory)
        summary = fuzz(
            name, seconds=options.seconds, findings=options.findings, engine=engine, seed=options.seed, limits=limits,
            module=options.module, bounds_checks=not options.without_bounds_checks,
        )  # fmt: skip
        summaries.append(summary)
        _print(summary)
    return int(any(summary.findings or summary.error for summary in summaries))


def replay(target: object, path: Path) -> int:
    """Read one file, without limits of time and memory; returns whether there is a finding."""
    from .target import Finding, Room, Target

    assert isinstance(target, Target)
    folder = Path(tempfile.mkdtemp(prefix="spikeloom-fuzz-"))
    try:
        print(Room(folder / "room", target).run(path.read_bytes()))
    except Finding as finding:
        print(finding)
        return 1
    finally:
        shutil.rmtree(folder)
    return 0


def _print(summary: Summary) -> None:
    share = f"{100 * summary.read / max(1, summary.executions):.0f} %"
    numbers = f"{summary.seconds:7.0f} {summary.executions:9,} {share:>6} {summary.slowest:6.2f} s"
    print(f"{summary.target:<24} {summary.engine:<8} {numbers}  {len(summary.findings)}", flush=True)
    for path in summary.findings:
        first = path.with_suffix(".txt").read_text(errors="replace").splitlines()[0]
        print(f"    {path}: {first[:200]}", flush=True)
    if summary.error:
        print(f"    not run: {summary.error}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
