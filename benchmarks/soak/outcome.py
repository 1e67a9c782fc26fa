"""What a part is given, what it returns, and the table of all parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measured_tables import markdown
from benchmarks.soak.watching import Usage

HEADS = ("part", "work", "figures", "time", "peak memory", "memory growth", "handles", "growth", "checks")


@dataclass(frozen=True)
class Setting:
    """The size of a part and its place.

    Attributes:
        folder: A folder of its own. It is removed once the part has passed, and kept otherwise, so that a long search
            continues.
        scale: 1 for the full size.
        minutes: Duration of the loaders at full scale.
        kills: Number of kills at full scale.
    """

    folder: Path
    scale: float = 1.0
    minutes: float = 60.0
    kills: int = 50

    def count(self, full: int, least: int) -> int:
        """A full count at this scale, but no less than `least`."""
        return max(least, round(full * self.scale))


@dataclass
class Outcome:
    """The result of a part.

    Attributes:
        work: What was done, with its size.
        figures: What was measured besides time and memory.
        usage: Time, memory and handles of its processes.
        failures: One line for each promise that was not kept.
        not_run: Why it could not run on this machine; empty if it ran.
    """

    work: str
    usage: Usage
    figures: str = ""
    failures: list[str] = field(default_factory=list)
    not_run: str = ""

    def expect(self, what: str, kept: bool, found: object) -> None:
        """Note a failure if a promise is not kept."""
        if not kept:
            self.failures.append(f"expected {what}, found {found}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Outcome:
        """The inverse of `to_dict`."""
        return Outcome(**(dict(values) | {"usage": Usage(**values["usage"])}))


def failures_of(outcomes: Mapping[str, Outcome]) -> list[str]:
    """One line for each promise that was not kept."""
    return [f"{name}: {failure}" for name, outcome in outcomes.items() for failure in outcome.failures]


def format_table(outcomes: Mapping[str, Outcome]) -> str:
    """The table of the parts that have ended, in Markdown."""
    return "\n".join(markdown(HEADS, [_cells(name, outcome) for name, outcome in outcomes.items()]))


def _cells(name: str, outcome: Outcome) -> Sequence[str]:
    usage = outcome.usage
    if outcome.not_run:
        return name, outcome.work, f"not run: {outcome.not_run}", "", "", "", "", "", ""
    checks = f"{len(outcome.failures)} FAILED" if outcome.failures else "passed"
    growth = "" if usage.growth_mb is None else f"{usage.growth_mb:+.1f} MB"
    handles = "" if usage.handles_growth is None else f"{usage.handles_growth:+d}"
    memory = f"{usage.peak_mb:,.0f} MB"
    return (
        name,
        outcome.work,
        outcome.figures,
        _time(usage.seconds),
        memory,
        growth,
        str(usage.handles),
        handles,
        checks,
    )


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def first_lines(texts: Iterable[str], most: int = 5) -> list[str]:
    """The first few of many messages, and how many there are besides."""
    found = list(texts)
    rest = [f"and {len(found) - most} more"] if len(found) > most else []
    return [*found[:most], *rest]
