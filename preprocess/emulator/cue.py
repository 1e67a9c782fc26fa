"""The cue task: a class is shown as a cue, a lag with distractors follows, and then a probe asks for the class.

    OUT/user01_led.aedat               AEDAT 3.1: all eight cues, one after another, in random order
    OUT/user01_led_labels.csv
    OUT/trials_to_train.txt            recordings of the first users
    OUT/trials_to_test.txt             recordings of the last users (a fifth of them, or --test-share)
    OUT/emulated.json                  marks the recordings as emulated; with the lag

A sample is the simplest form of a delayed-response task, as in tests of working memory (Fuster and Alexander, Neuron
Activity Related to Short-Term Memory, Science 1971):

    cue    100 ms   a shape blinks twice at one of eight places, which is the class
    lag    --lag-ms unrelated shapes cross the scene
    probe  100 ms   a shape blinks twice at all eight places; the network must answer

Nothing after the cue depends on the class: all random numbers of a sample depend on its position in the recording, and
the class only determines where the cue blinks. A real pixel would retain a trace of the cue, because its memorised
luminance does not return exactly to the earlier value, so late frames could reveal the class. All pixels are therefore
reset at the end of the cue, as the DVS128 can do; only the network's memory remains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preprocess.emulator.aedat_writers import DVS128_SIZE, write_aedat31
from preprocess.emulator.cue_positions import PLACES, ring
from preprocess.emulator.distractors import random_distractor
from preprocess.emulator.lighting import LIGHTS, Light
from preprocess.emulator.noise import LEAK_HZ
from preprocess.emulator.recording_sessions import emulate_trials, stem_of, write_labels
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
_DISTRACTORS = 2
# Distractors are replaced by others after this time, so that their number does not depend on the lag.
_CROSSING_US = 200_000
_FADE_FRAMES = 10
# Maximum distance of the centre of a sample's ring from the user's centre, in pixels, along each axis.
_JITTER = 2


@dataclass(frozen=True)
class User:
    """How a user shows cues.

    Attributes:
        radius: Radius of the shapes in pixels.
        ring: Radius of the ring of places in pixels.
        x: Column of the centre of the ring.
        y: Row of the centre of the ring.
    """

    radius: float
    ring: float
    x: float
    y: float

    @staticmethod
    def random(rng: np.random.Generator) -> User:
        """Draw a user: sizes, and a centre within 4 pixels of the sensor's."""
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
    """Emulate recordings of the cue task; each recording has all eight cues.

    Every user is recorded in up to five lighting conditions; the number of users follows from `samples_per_class`.

    Args:
        out: The folder to create.
        samples_per_class: Number of recordings, training and test together.
        seed: Random seed; the same seed gives identical files.
        lag_ms: Time from the end of the cue to the probe in ms.
        test_share: Fraction of the users whose recordings form the test split; at least one user is in each split.
        progress: Where to report progress.

    Returns:
        The folder.

    Raises:
        ConfigError: If there are too few samples for two users, or the lag or the test share is invalid.
        LayoutError: If the folder contains something else or cannot be written.
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
    """Write a recording and its labels; returns its number of events."""
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
    """Records a sample of each class, in the given order, with pauses between them.

    Attributes:
        labels: Class (from 1), start and end in µs of each sample recorded so far.
    """

    def __init__(self, user: User, light: Light, seed: list[int], lag_us: int, order: Sequence[int]) -> None:
        """Random numbers depend on the seed and on a sample's position in the order, never on its class."""
        self.labels: list[tuple[int, int, int]] = []
        self._user, self._light, self._seed, self._lag_us, self._order = user, light, seed, lag_us, order
        model = PixelModel(on_threshold=_THRESHOLD, off_threshold=_THRESHOLD, shot_hz=light.shot_hz, leak_hz=LEAK_HZ)
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
        """Blink a shape twice at every place, or at the place `only`."""
        duration_us = PROBE_US if only is None else CUE_US
        t = np.arange(1, duration_us // _FRAME_US + 1) * _FRAME_US / duration_us
        swell = np.sin(np.pi * _BLINKS * t) ** 2
        # The last frame must be empty, but sin(pi) is not exactly 0.
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
        """Show distractors for the duration of the lag."""
        for begin in range(0, self._lag_us, _CROSSING_US):
            duration_us = min(_CROSSING_US, self._lag_us - begin)
            frames = -(-duration_us // _FRAME_US)
            fade = min(_FADE_FRAMES, frames)
            radius, contrasts = self._user.radius, [self._contrast(rng) for _ in range(_DISTRACTORS)]
            yield from self._film(
                [random_distractor(rng, radius, c, frames, _FRAME_US, DVS128_SIZE).faded(fade) for c in contrasts],
                duration_us,
            )

    def _contrast(self, rng: np.random.Generator) -> float:
        return float(self._light.contrast * rng.uniform(0.85, 1.15) * rng.choice([-1, 1]))

    def _film(self, motions: Sequence[Motion], duration_us: int) -> Iterator[Events]:
        """Expose the sensor to motions of this duration; the last frame is at its end."""
        frames = len(motions[0].poses)
        times = self._time_us + np.minimum(_FRAME_US * np.arange(1, frames + 1), duration_us)
        for which, pictures in film(motions[0], DVS128_SIZE, DVS128_SIZE, motions[1:]):
            yield self._sensor.expose(pictures, times[which])
        self._time_us += duration_us
