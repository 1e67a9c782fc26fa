"""What tests of building an event store share: a progress that remembers its lines, and checks of the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_layout import TinyLayout

from preprocess.events import Events
from preprocess.store.event_store import open_events
from preprocess.terminal.progress import Progress


class Notes(Progress):
    """Remembers what was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


def decoded(layout: TinyLayout) -> list[str]:
    """Which recordings were decoded, in order, since the log began."""
    log = layout.recordings[0].path.parent / "decoded.log"
    return log.read_text().split() if log.exists() else []


def check(path: Path, samples: list[Events]) -> None:
    store = open_events(path)
    assert len(store) == len(samples)
    for i, sample in enumerate(samples):
        store.check_sample(i)
        found = store.read(i)
        assert all(np.array_equal(getattr(found, c), getattr(sample, c)) for c in "txyp")


def whole_files(folder: Path) -> set[str]:
    """Names in a cache folder, but for the lock and the kept parts."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name for name in found if name != ".lock" and not name.startswith(".parts/")}
