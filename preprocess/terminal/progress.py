"""How long work tells how far it is: bars on a terminal, a few lines elsewhere, never on stdout."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[float], None]


class Progress:
    """Says only what matters when nobody watches: the notes, as lines on stderr."""

    def note(self, line: str) -> None:
        """Tell something that is no error, such as why a cache is made again."""
        print(f"spikeloom: {line}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def task(self, name: str, total: float, unit: str) -> Iterator[Advance]:
        """One piece of work; the function given is called with the amount just done, in `unit`."""
        yield lambda amount: None


class Lines(Progress):
    """For a stderr that is no terminal: one line at the end of each task."""

    @contextlib.contextmanager
    def task(self, name: str, total: float, unit: str) -> Iterator[Advance]:
        start = time.perf_counter()
        yield lambda amount: None
        self.note(f"{name}: {total:,.0f} {unit} in {time.perf_counter() - start:.1f} s")


class Bars(Progress):
    """For a terminal: a bar for each task, with the time that remains."""

    def note(self, line: str) -> None:
        from rich.console import Console

        Console(stderr=True).print(f"spikeloom: {line}", markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def task(self, name: str, total: float, unit: str) -> Iterator[Advance]:
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
    """Bars where stderr is a terminal, else lines."""
    return Bars() if sys.stderr.isatty() else Lines()
