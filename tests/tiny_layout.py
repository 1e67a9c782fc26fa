"""A data set of a few random events in .npy files, for tests of everything behind the raw formats."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import ReadOptions


def random_events(
    seed: int, count: int = 500, *, height: int = 8, width: int = 10, span_us: int = 100_000, ordered: bool = True
) -> Events:
    """Seeded events, with equal times among them."""
    rng = np.random.default_rng(seed)
    t = rng.integers(1000, 1000 + span_us, count)
    return Events(
        np.sort(t) if ordered else t,
        rng.integers(0, width, count).astype(np.uint16),
        rng.integers(0, height, count).astype(np.uint16),
        rng.integers(0, 2, count).astype(np.uint8),
        height,
        width,
    )


@dataclass(frozen=True)
class TinySample:
    label: int
    split: int
    index: int
    group: str
    name: str
    start_us: int | None = None
    end_us: int | None = None
    numbers: tuple[int, int] | None = None


@dataclass(frozen=True)
class TinySource:
    path: Path
    relative: str
    samples: tuple[TinySample, ...]


@dataclass(frozen=True)
class TinyRecording:
    path: Path
    height: int
    width: int
    chunk: int
    delay_s: float
    format: str = "npy"
    header: tuple[str, ...] = ()
    notes: dict[str, int] = field(default_factory=dict)

    def chunks(self) -> Iterator[Events]:
        try:
            columns = np.load(self.path)
        except (ValueError, EOFError, OSError) as error:
            raise RecordingError(f"{self.path}: damaged ({error}). Copy it again.") from None
        with (self.path.parent / "decoded.log").open("a") as log:
            log.write(f"{self.path.name}\n")
        t, x, y, p = columns
        events = Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), self.height, self.width)
        for start in range(0, len(t), self.chunk):
            time.sleep(self.delay_s)
            yield events[start : start + self.chunk]
        self.notes["events_seen"] = len(t)


@dataclass(frozen=True)
class TinyLayout:
    """Stands in for `preprocess.datasets.layout.Layout`: same fields, same `open`."""

    name: str
    dataset: str
    height: int
    width: int
    classes: tuple[str, ...]
    recordings: tuple[TinySource, ...]
    format: None = None
    decoder: str = "npy 1"
    orientation: str | None = None
    windows: None = None
    form: str = ""
    salvage: bool = False
    sort: bool = False
    joined: bool = False
    tables: tuple[str, ...] = ()
    # With an option, files are not decoded together, but opened here.
    options: ReadOptions = field(default_factory=lambda: ReadOptions("txyp"))
    chunk: int = 128
    delay_s: float = 0.0

    @property
    def folder(self) -> Path:
        return self.recordings[0].path.parent

    def open(self, recording: TinySource) -> TinyRecording:
        return TinyRecording(recording.path, self.height, self.width, self.chunk, self.delay_s)


def save_events(path: Path, events: Events) -> None:
    np.save(path, np.stack([events.t, events.x, events.y, events.p]).astype(np.int64))


def tiny_layout(
    folder: Path, events: list[Events], *, classes: int = 3, name: str = "tiny", **options: object
) -> TinyLayout:
    """One recording and one sample for each of `events`, written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = []
    for i, sample in enumerate(events):
        relative = f"r{i:03d}.npy"
        save_events(folder / relative, sample)
        about = TinySample(i % classes, i % 2, i // classes, f"user{i % 4}", f"sämple{i}")
        sources.append(TinySource(folder / relative, relative, (about,)))
    names = tuple(f"class{c}" for c in range(classes))
    height, width = events[0].height, events[0].width
    return TinyLayout(name, "tiny", height, width, names, tuple(sources), **options)  # type: ignore[arg-type]
