"""Progress of long work: bars on a terminal, a few lines elsewhere, never on stdout."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[float], None]


class Progress:
    """Print notes on stderr, but no progress; the base class of the other two."""

    def note(self, line: str) -> None:
        """Print a message that is not an error, such as why a cache is rebuilt."""
        print(f"spikeloom: {line}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def task(self, name: str, total: float, unit: str) -> Iterator[Advance]:
        """One task; call the function that it yields with the amount of work just done, in `unit`."""
        yield lambda amount: None


class Lines(Progress):
    """For a stderr that is not a terminal: one line at the end of each task."""

    @contextlib.contextmanager
    def task(self, name: str, total: float, unit: str) -> Iterator[Advance]:
        """One task, whose line is printed only at its end, with the time that it took."""
        start = time.perf_counter()
        yield lambda amount: None
        self.note(f"{name}: {total:,.0f} {unit} in {time.perf_counter() - start:.1f} s")


class Bars(Progress):
    """For a terminal: a bar for each task, with the remaining time."""

    def note(self, line: str) -> None:
        """Print a message above the bars."""
        from rich.console import Console

        Console(stderr=True).print(f"spikeloom: {line}", markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def task(self, name: str, total: float, unit: str) -> Iterator[Advance]:
        """One task, whose bar disappears at its end."""
        from rich import progress as rich_progress
        from rich.console import Console

        columns = (
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
            rich_progress.TimeRemainingColumn(),
        )
        with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            bar = bars.add_task(name, total=total)
            yield lambda amount: bars.advance(bar, amount)


def progress_on_stderr() -> Progress:
    """Bars if stderr is a terminal, else lines."""
    return Bars() if sys.stderr.isatty() else Lines()
