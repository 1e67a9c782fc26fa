"""10^9 events of a sensor of 1280x720 in one store: written by `spikeloom preprocess`, every event compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.soak.outcome import Outcome, Setting, first_lines
from benchmarks.soak.recordings import events_differ, moved, number_of, random_recording, write_folder
from benchmarks.soak.watching import Place, run
from preprocess.events import Events
from preprocess.store.event_store import EventStore, open_events

_EVENTS = 1_000_000_000
_EACH = 10_000_000
_HEIGHT, _WIDTH = 720, 1280
_PEAK_MB = 2000


def run_part(setting: Setting) -> Outcome:
    """Write the recordings, preprocess them and compare the store with what was written."""
    total = setting.count(_EVENTS, 200_000)
    each = min(_EACH, total // 4)
    files = total // each
    base = random_recording(each, _HEIGHT, _WIDTH, seed=1)
    source = write_folder(setting.folder / "raw", base, files)
    words = ["folder", "--name", "soak", "--source", source, "--cache", setting.folder / "cache", "--workers", 2]
    # The files of an interrupted part are used again, but the work that is timed is not.
    shutil.rmtree(setting.folder / "cache", ignore_errors=True)
    with Place() as place:
        ended = run(place, ["-m", "preprocess", "preprocess", *words])
    work = f"{files * each:,} events of 1280x720 in {files:,} files to one store"
    outcome = Outcome(work, ended.usage)
    outcome.expect("exit code 0", ended.code == 0, f"{ended.code}: {ended.last_line}")
    if ended.code == 0:
        path = setting.folder / "cache" / "soak" / "events.h5"
        size = path.stat().st_size / (files * each)
        rate = files * each / ended.usage.seconds / 1e6
        outcome.figures = f"{rate:.1f} M events/s; {size:.2f} bytes per event"
        outcome.failures += first_lines(store_errors(path, base, files))
    outcome.expect(f"at most {_PEAK_MB} MB", ended.usage.peak_mb <= _PEAK_MB, f"{ended.usage.peak_mb:.0f} MB")
    return outcome


def store_errors(path: Path, base: Events, files: int) -> Iterator[str]:
    """A line for each sample whose events are not those that were written, and for what is missing."""
    store: EventStore = open_events(path)
    found = sorted(number_of(str(name)) for name in store.samples.name)
    if found != list(range(files)):
        yield f"expected {files} samples, found {len(found)}"
        return
    for i, name in enumerate(store.samples.name):
        store.check_sample(i)
        difference = events_differ(store.read(i), moved(base, number_of(str(name))))
        if difference:
            yield f"expected the events of {name}, found {difference}"
