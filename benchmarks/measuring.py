"""Timing of two implementations of the same work, and the table of results."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        work: The work that was measured.
        ours: spikeloom's figure, formatted.
        peer: The peer's name and figure.
        ratio: How many times better ours is; for sizes, ours as a fraction of the peer's.
        target: The ratio to reach.
        less: Whether a smaller ratio is better.
        of_processor: The ratio of processor time, which is less affected by other work on the machine.
    """

    work: str
    ours: str
    peer: str
    ratio: float
    target: float
    less: bool = False
    of_processor: float | None = None

    @property
    def reached(self) -> bool:
        return self.ratio <= self.target if self.less else self.ratio >= self.target


@dataclass(frozen=True)
class Timing:
    """Medians of interleaved repeats, in seconds."""

    wall_s: float
    processor_s: float

    def __str__(self) -> str:
        return f"{self.wall_s:.2f} s" if self.wall_s >= 1 else f"{1000 * self.wall_s:.3g} ms"


def time_in_turns(works: Sequence[Callable[[], object]], repeats: int) -> list[Timing]:
    """Time each function `repeats` times, in turns, so that other load on the machine affects all of them equally."""
    taken: list[list[tuple[float, float]]] = [[] for _ in works]
    for _ in range(repeats):
        for times, work in zip(taken, works, strict=True):
            gc.collect()
            wall, processor = time.perf_counter(), time.process_time()
            work()
            times.append((time.perf_counter() - wall, time.process_time() - processor))
    return [Timing(*(statistics.median(column) for column in zip(*times, strict=True))) for times in taken]


def compare(
    work: str, ours: Callable[[], object], peer: Callable[[], object], name: str, target: float, repeats: int
) -> Row:
    """Time our function in comparison with a peer's."""
    mine, other = time_in_turns([ours, peer], repeats)
    return Row(
        work,
        str(mine),
        f"{name} {other}",
        other.wall_s / mine.wall_s,
        target,
        of_processor=other.processor_s / max(mine.processor_s, 1e-9),
    )


def format_table(rows: Sequence[Row]) -> str:
    """Format the rows as a Markdown table."""
    heads = ("work", "spikeloom", "peer", "ratio", "of processor time", "target", "reached")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        sign = "<=" if row.less else ">="
        processor = "" if row.of_processor is None else f"{row.of_processor:.3g}"
        cells = [row.work, row.ours, row.peer, f"{row.ratio:.3g}", processor, f"{sign} {row.target:g}"]
        lines.append(f"| {' | '.join([*cells, 'yes' if row.reached else 'NO'])} |")
    return "\n".join(lines)
