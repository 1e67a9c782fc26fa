"""The table of the paper's rows in docs/paper.md: ``python -m benchmarks.paper_table``.

Memory and FLOPs are those of `spikeloom train --dry-run` with a GPU in mind, which takes minutes for all rows and no
data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.paper_rows import HEADS, rows
from pipeline.config.run_config import RunConfig, fingerprint, override
from pipeline.dry_run.dry_run import dry_run
from preprocess.terminal.plural import counted

PAGE = Path(__file__).resolve().parent.parent / "docs" / "paper.md"
BEGIN = "<!-- made by: python -m benchmarks.paper_table -->\n"
END = "<!-- end of the table -->\n"

# Of runs that differ in nothing else, one is computed.
_FREE = {"seed": 0, "neuron.tau": 2.0, "selection": "last", "dataset.augmentation": "none", "threads": 1}


def cost(config: RunConfig, known: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """Bytes on a GPU and floating-point operations of a run.

    Args:
        config: Configuration of the run.
        known: The results so far, to which this one is added.
    """
    config = override(config, _FREE)
    key = fingerprint(config)
    if key not in known:
        with TemporaryDirectory() as empty:
            report = dry_run(config, Path(empty))
        memory = report["memory_bytes"]["all"] + (report["cuda_besides_bytes"] or 0)
        known[key] = memory, report["flops_of_run"]
    return known[key]


def describe(costs: Sequence[tuple[int, int]]) -> tuple[str, str]:
    """Memory of the largest run and work of all runs, as texts; a dash each if there are none."""
    if not costs:
        return "–", "–"
    total = work(sum(flops for _, flops in costs))
    largest = f"{max(memory for memory, _ in costs) / 1e9:.1f} GB"
    return largest, total if len(costs) == 1 else f"{counted(len(costs), 'run')}, {total}"


def work(flops: int) -> str:
    """Floating-point operations as a text with two digits, or as whole PFLOP."""
    return f"{flops / 1e15:,.{1 if flops < 1e16 else 0}f} PFLOP"


def table() -> str:
    """The table in Markdown."""
    lines = [f"| {' | '.join(HEADS)} |", "|" + "---|" * len(HEADS)]
    known: dict[str, tuple[int, int]] = {}
    for row in rows():
        costs = [cost(config, known) for config in row.configs]
        lines.append(f"| {' | '.join(row.cells(*describe(costs)))} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the table on the page."""
    found = table()
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + found + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()
