"""Cues to be remembered: a class is shown early, a lag follows in which other things happen, and then an answer is due.

    OUT/user01_led.aedat               AEDAT 3.1: all eight cues, one after another, in random order
    OUT/user01_led_labels.csv
    OUT/trials_to_train.txt            the first users
    OUT/trials_to_test.txt             the last users: a fifth, or the share asked for
    OUT/emulated.json                  says that an emulator made them, and with which lag

A sample is a delayed match in its simplest form, as in tests of working memory (Fuster and Alexander, Neuron Activity
Related to Short-Term Memory, Science 1971):

    cue    100 ms   a shape blinks twice at one of eight places, the class
    lag    --lag-ms shapes cross the picture that have nothing to do with it
    probe  100 ms   a shape blinks twice at all eight places alike: now the answer is due

Nothing after the cue depends on the class: what is drawn for a sample is drawn by its place in the recording, and the
class only says where its cue blinks. A camera would remember it all the same, because a pixel that has risen and fallen
stays a little off what it was, so that a frame late in the sample could tell where the cue was. All pixels are reset as
the cue ends, as the DVS128 can; what is remembered then, the network remembers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preprocess.emulator.aedat_writers import DVS128_SIZE, write_aedat31
from preprocess.emulator.cue_positions import PLACES, ring
from preprocess.emulator.distractors import passer
from preprocess.emulator.recording_sessions import LIGHTS, Light, emulate_trials, stem_of, write_labels
from preprocess.emulator.sensor import PixelModel, Sensor
from preprocess.emulator.shapes import SHAPES, Motion, film
from preprocess.errors import ConfigError
from preprocess.events import Events
from preprocess.terminal.progress import Progress

CUE_US = 100_000
PROBE_US = 100_000

_FRAME_US = 2000
_BLINKS = 2
_THRESHOLD = 0.15
_LEAK_HZ = 0.1
_DISTRACTORS = 2
# Shapes that cross leave and others come within this time, so that a long lag is as full as a short one.
_CROSSING_US = 200_000
_FADE_FRAMES = 10
# How far the middle of the ring lies from where the user has it, in pixels, along each axis.
_JITTER = 2


@dataclass(frozen=True)
class User:
    """How somebody shows cues.

    Attributes:
        radius: Of the shapes, in pixels.
        ring: From the middle to every place, in pixels.
        x: Column of the middle.
        y: Row.
    """

    radius: float
    ring: float
    x: float
    y: float

    @staticmethod
    def random(rng: np.random.Generator) -> User:
        middle = DVS128_SIZE / 2 + rng.uniform(-4, 4, 2)
        return User(rng.uniform(7, 10), rng.uniform(36, 42), float(middle[0]), float(middle[1]))


def emulate_cue(
    out: Path,
    *,
    samples_per_class: int,
    seed: int,
    lag_ms: int = 200,
    test_share: float = 0.2,
    progress: Progress | None = None,
) -> Path:
    """Film `samples_per_class` recordings of all cues by as many users as that takes in five lights.

    Args:
        out: The folder to make.
        samples_per_class: Recordings, for training and test together.
        seed: Random seed; equal seeds give equal bytes.
        lag_ms: From the end of the cue to the probe, in ms.
        test_share: Fraction of the users who test, between 0 and 1, rounded to users; at least one tests, one trains.
        progress: Where to report progress.

    Returns:
        The folder.

    Raises:
        ConfigError: If there are too few samples for a training and a test user, or the lag or share is none.
        LayoutError: If the folder holds something else or cannot be written.
    """
    if lag_ms < 0:
        raise ConfigError(f"lag: expected 0 ms or more, found {lag_ms}")
    return emulate_trials(
        out,
        "cue",
        lambda folder, user, light: _record(folder, user, light, seed, lag_ms),
        classes=len(PLACES),
        samples_per_class=samples_per_class,
        seed=seed,
        test_share=test_share,
        progress=progress,
        lag_ms=lag_ms,
    )


def _record(folder: Path, user: int, light: str, seed: int, lag_ms: int) -> int:
    """Write a recording and its labels; how many events it holds."""
    stem = stem_of(user, light)
    habits = User.random(np.random.default_rng([seed, user]))
    seeds = [seed, user, list(LIGHTS).index(light)]
    order = np.random.default_rng(seeds).permutation(len(PLACES))
    recorder = Recorder(habits, LIGHTS[light], seeds, lag_ms * 1000, order.tolist())
    about = f"user {user + 1}, light {light}, seed {seed}, lag {lag_ms} ms"
    comments = [f"emulated by spikeloom: no camera recorded this; {about}; pixels are reset as each cue ends"]
    events = write_aedat31(folder / f"{stem}.aedat", recorder.chunks(), comments)
    write_labels(folder, stem, recorder.labels)
    return events


class Recorder:
    """Films one recording: a sample for each class of an order, with pauses between them.

    Attributes:
        labels: Class from 1, start and end in µs of the samples filmed so far.
    """

    def __init__(self, user: User, light: Light, seed: list[int], lag_us: int, order: Sequence[int]) -> None:
        """All that is drawn follows from the seed and a sample's number in the order, never from its class."""
        self.labels: list[tuple[int, int, int]] = []
        self._user, self._light, self._seed, self._lag_us, self._order = user, light, seed, lag_us, order
        model = PixelModel(on_threshold=_THRESHOLD, off_threshold=_THRESHOLD, shot_hz=light.shot_hz, leak_hz=_LEAK_HZ)
        self._sensor = Sensor(model, DVS128_SIZE, DVS128_SIZE, [*seed, 1])
        self._time_us = 0

    def chunks(self) -> Iterator[Events]:
        """The events of the whole recording."""
        empty = np.ones((1, DVS128_SIZE, DVS128_SIZE), np.float32)
        self._sensor.expose(empty, np.zeros(1, np.int64))
        for number, label in enumerate(self._order):
            rng = np.random.default_rng([*self._seed, 2, number])
            self._time_us += round(rng.uniform(0.05, 0.1) * 1e6)
            yield self._sensor.expose(empty, np.array([self._time_us]))
            start = self._time_us
            yield from self._sample(label, rng)
            self.labels.append((label + 1, start, self._time_us))

    def _sample(self, label: int, rng: np.random.Generator) -> Iterator[Events]:
        middle = np.array([self._user.x, self._user.y]) + rng.uniform(-_JITTER, _JITTER, 2)
        places = middle + ring(self._user.ring * rng.uniform(0.97, 1.03))
        yield from self._blink(places, rng, only=label)
        self._sensor.reset()
        yield from self._distract(rng)
        yield from self._blink(places, rng)

    def _blink(
        self, places: NDArray[np.float64], rng: np.random.Generator, only: int | None = None
    ) -> Iterator[Events]:
        """A shape of one kind at every place, or at one of them alone, appears and vanishes twice."""
        duration_us = PROBE_US if only is None else CUE_US
        t = np.arange(1, duration_us // _FRAME_US + 1) * _FRAME_US / duration_us
        swell = np.sin(np.pi * _BLINKS * t) ** 2
        # No shape is left in the last frame: sin(pi) is not quite 0.
        swell[-1] = 0
        poses = np.empty((len(t), 5))
        poses[:, 2] = self._user.radius * rng.uniform(0.9, 1.1)
        poses[:, 3] = rng.uniform(0, 2 * np.pi)
        poses[:, 4] = self._contrast(rng) * swell
        shape = SHAPES[rng.integers(len(SHAPES))]
        motions = []
        for x, y in places if only is None else places[[only]]:
            placed = poses.copy()
            placed[:, 0], placed[:, 1] = x, y
            motions.append(Motion(shape, placed))
        yield from self._film(motions, duration_us)

    def _distract(self, rng: np.random.Generator) -> Iterator[Events]:
        """Shapes cross the picture anywhere, in any direction, for the whole lag."""
        for begin in range(0, self._lag_us, _CROSSING_US):
            duration_us = min(_CROSSING_US, self._lag_us - begin)
            frames = -(-duration_us // _FRAME_US)
            fade = min(_FADE_FRAMES, frames)
            radius, contrasts = self._user.radius, [self._contrast(rng) for _ in range(_DISTRACTORS)]
            yield from self._film(
                [passer(rng, radius, c, frames, _FRAME_US, DVS128_SIZE).faded(fade) for c in contrasts], duration_us
            )

    def _contrast(self, rng: np.random.Generator) -> float:
        return float(self._light.contrast * rng.uniform(0.85, 1.15) * rng.choice([-1, 1]))

    def _film(self, motions: Sequence[Motion], duration_us: int) -> Iterator[Events]:
        """Expose the sensor to motions of as many frames as the duration takes; the last frame ends it."""
        frames = len(motions[0].poses)
        times = self._time_us + np.minimum(_FRAME_US * np.arange(1, frames + 1), duration_us)
        for which, pictures in film(motions[0], DVS128_SIZE, DVS128_SIZE, motions[1:]):
            yield self._sensor.expose(pictures, times[which])
        self._time_us += duration_us
