"""Long recordings for benchmarks: emulated gestures, repeated with small shifts until there are enough events."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from preprocess.datasets import find_layout
from preprocess.emulator.aedat_writers import write_aedat31
from preprocess.emulator.gestures import emulate_gestures
from preprocess.emulator.lighting import LIGHTS
from preprocess.events import Events

# The size of DVS128-Gesture: recordings, samples, and approximate number of events.
FULL_RECORDINGS, FULL_SAMPLES, FULL_EVENTS = 122, 1464, 500_000_000

_COMMENT = "emulated by spikeloom for a benchmark: no camera recorded this"
_PAUSE_US = 100_000
_LARGEST_MOVE = 6


def emulate_gesture_clips(seed: int) -> list[Events]:
    """Emulate a clip of each of the eleven gestures, in the order of their classes, each starting at time 0."""
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as folder:
        source = emulate_gestures(Path(folder) / "gestures", samples_per_class=2, seed=seed)
        layout = find_layout("emulated-gestures", source)
        recording = layout.recordings[0]
        events = Events.concatenate(list(layout.open(recording).chunks()), layout.height, layout.width)
        clips = []
        for sample in sorted(recording.samples, key=lambda sample: sample.label):
            assert sample.start_us is not None and sample.end_us is not None
            clip = events[(events.t >= sample.start_us) & (events.t < sample.end_us)]
            clips.append(replace(clip, t=clip.t - sample.start_us))
    return clips


def write_gesture_folder(
    folder: Path, clips: list[Events], *, recordings: int, samples: int, events: int, seed: int
) -> Path:
    """Write a folder of emulated gestures with the layout of DVS128-Gesture, all in the training split.

    Args:
        folder: The folder to create.
        clips: The clips to repeat, one per class.
        recordings: Number of recordings.
        samples: Number of samples in total, divided equally among the recordings, with the classes in turn.
        events: Exact number of events in total.
        seed: Seed of the shifts.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    each = samples // recordings
    stems = [f"user{1 + k // len(LIGHTS):02d}_{list(LIGHTS)[k % len(LIGHTS)]}" for k in range(recordings)]
    for k, stem in enumerate(stems):
        lines = ["class,startTime_usec,endTime_usec"]
        wanted = np.diff(np.linspace(0, events // recordings, each + 1).astype(np.int64)).tolist()
        if k == 0:
            wanted[0] += events % recordings
        written = _record(clips, wanted, lines, np.random.default_rng([seed, k]))
        write_aedat31(folder / f"{stem}.aedat", written, [_COMMENT])
        (folder / f"{stem}_labels.csv").write_text("".join(f"{line}\n" for line in lines))
    (folder / "trials_to_train.txt").write_text("".join(f"{stem}.aedat\n" for stem in stems))
    (folder / "trials_to_test.txt").write_text("")
    return folder


def _record(clips: list[Events], wanted: list[int], lines: list[str], rng: np.random.Generator) -> Iterator[Events]:
    """Yield the events of one recording, clip by clip; appends its labels to `lines`."""
    now = _PAUSE_US
    for sample, count in enumerate(wanted):
        start, label = now, sample % len(clips)
        while count:
            clip = _moved(clips[label], rng)[:count]
            yield replace(clip, t=clip.t + now)
            count -= len(clip)
            now += int(clip.t[-1]) + 1
        lines.append(f"{label + 1},{start},{now}")
        now += _PAUSE_US


def _moved(clip: Events, rng: np.random.Generator) -> Events:
    dx, dy = rng.integers(-_LARGEST_MOVE, _LARGEST_MOVE + 1, 2)
    x, y = clip.x.astype(np.int64) + dx, clip.y.astype(np.int64) + dy
    inside = (x >= 0) & (x < clip.width) & (y >= 0) & (y < clip.height)
    return replace(clip, x=x.astype(np.uint16), y=y.astype(np.uint16))[inside]
