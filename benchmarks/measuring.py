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
        spread: The lowest and highest ratio of the single turns.
    """

    work: str
    ours: str
    peer: str
    ratio: float
    target: float
    less: bool = False
    of_processor: float | None = None
    spread: tuple[float, float] | None = None

    @property
    def reached(self) -> bool:
        return self.ratio <= self.target if self.less else self.ratio >= self.target


@dataclass(frozen=True)
class Timing:
    """Medians of interleaved repeats, in seconds, and the wall time of each repeat."""

    wall_s: float
    processor_s: float
    turns: tuple[float, ...] = ()

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
    return [_timing(times) for times in taken]


def _timing(times: Sequence[tuple[float, float]]) -> Timing:
    walls, processor = zip(*times, strict=True)
    return Timing(statistics.median(walls), statistics.median(processor), walls)


def spread_of(mine: Timing, other: Timing) -> tuple[float, float]:
    """The lowest and highest ratio of two timings that were taken in turns."""
    ratios = [theirs / ours for ours, theirs in zip(mine.turns, other.turns, strict=True)]
    return min(ratios), max(ratios)


def compare(
    work: str, ours: Callable[[], object], peer: Callable[[], object], name: str, target: float, repeats: int
) -> Row:
    """Time our function in comparison with a peer's."""
    mine, other = time_in_turns([ours, peer], repeats)
    return timed_row(work, mine, other, name, target)


def timed_row(work: str, mine: Timing, other: Timing, name: str, target: float) -> Row:
    """The row of two timings that were taken in turns."""
    return Row(
        work,
        str(mine),
        f"{name} {other}",
        other.wall_s / mine.wall_s,
        target,
        of_processor=other.processor_s / max(mine.processor_s, 1e-9),
        spread=spread_of(mine, other),
    )


def format_table(rows: Sequence[Row]) -> str:
    """Format the rows as a Markdown table."""
    heads = ("work", "spikeloom", "peer", "ratio", "spread", "of processor time", "target", "reached")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        sign = "<=" if row.less else ">="
        processor = "" if row.of_processor is None else f"{row.of_processor:.3g}"
        spread = "" if row.spread is None else f"{row.spread[0]:.3g} to {row.spread[1]:.3g}"
        cells = [row.work, row.ours, row.peer, f"{row.ratio:.3g}", spread, processor, f"{sign} {row.target:g}"]
        lines.append(f"| {' | '.join([*cells, 'yes' if row.reached else 'NO'])} |")
    return "\n".join(lines)
