"""Eleven gestures of moving shapes, recorded as DVS128-Gesture was: one recording per user and lighting condition.

OUT/user01_led.aedat               AEDAT 3.1: all eleven gestures, one after another, in random order
OUT/user01_led_labels.csv
OUT/trials_to_train.txt            recordings of the first users
OUT/trials_to_test.txt             recordings of the last users (a fifth of them, or --test-share)
OUT/emulated.json                  marks the recordings as emulated
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocess.emulator.aedat_writers import DVS128_SIZE, write_aedat31
from preprocess.emulator.difficulty import PLAIN, Difficulty, find_difficulty
from preprocess.emulator.distractors import random_distractor
from preprocess.emulator.gesture_motions import GESTURES, path_of
from preprocess.emulator.lighting import LIGHTS, Light
from preprocess.emulator.recording_sessions import emulate_trials, stem_of, write_labels
from preprocess.emulator.sensor import PixelModel, Sensor
from preprocess.emulator.shapes import SHAPES, Motion, film
from preprocess.events import Events
from preprocess.terminal.progress import Progress

# Short enough that no shape moves by more than the width of its edge.
_FRAME_US = 2000
_FADE_FRAMES = 30
# Maximum shift of a repeated stroke in pixels, along each axis.
_STROKE_SHIFT = 4
_THRESHOLD = 0.15
# Pixels have hysteresis: after ON events, luminance must fall by an extra threshold before the first OFF event. A
# bright shape thus causes fewer OFF than ON events, and a dark one fewer ON events. That would reveal whether the shape
# is bright or dark, and with it the direction of a swipe from the sum over time. To conceal it, both thresholds are
# drawn for each recording, within a factor of exp(+-_BIAS).
_BIAS = 0.4


@dataclass(frozen=True)
class User:
    """How a user makes gestures.

    Attributes:
        radius: Radius of the shape in pixels.
        seconds: Duration of a stroke in s.
        reach: Half the length of a swipe in pixels.
        x: Column of the centre of the gestures.
        y: Row of the centre of the gestures.
        tilt: Tilt of all paths in radians.
    """

    radius: float
    seconds: float
    reach: float
    x: float
    y: float
    tilt: float

    @staticmethod
    def random(rng: np.random.Generator, among: Difficulty = PLAIN) -> User:
        """Draw a user uniformly from the ranges of a difficulty."""
        return User(
            radius=rng.uniform(*among.radius),
            seconds=rng.uniform(*among.seconds),
            reach=rng.uniform(*among.reach),
            x=DVS128_SIZE / 2 + rng.uniform(-among.offset, among.offset),
            y=DVS128_SIZE / 2 + rng.uniform(-among.offset, among.offset),
            tilt=np.radians(rng.uniform(-among.tilt, among.tilt)),
        )


def emulate_gestures(
    out: Path,
    *,
    samples_per_class: int,
    seed: int,
    difficulty: str = PLAIN.name,
    test_share: float = 0.2,
    progress: Progress | None = None,
) -> Path:
    """Emulate recordings of gestures; each recording has all eleven gestures.

    Every user is recorded in up to five lighting conditions; the number of users follows from `samples_per_class`.

    Args:
        out: The folder to create.
        samples_per_class: Number of recordings, training and test together.
        seed: Random seed; the same seed gives identical files.
        difficulty: plain or hard (see the module `difficulty`).
        test_share: Fraction of the users whose recordings form the test split; at least one user is in each split.
        progress: Where to report progress.

    Returns:
        The folder.

    Raises:
        ConfigError: If there are too few samples for two users, or the difficulty or the test share is invalid.
        LayoutError: If the folder contains something else or cannot be written.
    """
    scene = find_difficulty(difficulty)
    return emulate_trials(
        out,
        "gestures",
        lambda folder, user, light: _record(folder, user, light, seed, scene),
        classes=len(GESTURES),
        samples_per_class=samples_per_class,
        seed=seed,
        test_share=test_share,
        progress=progress,
        difficulty=difficulty,
    )


def _record(folder: Path, user: int, light: str, seed: int, scene: Difficulty) -> int:
    """Write a recording and its labels; returns its number of events."""
    stem = stem_of(user, light)
    habits = User.random(np.random.default_rng([seed, user]), scene)
    recorder = _Recorder(habits, LIGHTS[light], [seed, user, list(LIGHTS).index(light)], scene)
    about = f"user {user + 1}, light {light}, seed {seed}" + ("" if scene == PLAIN else f", {scene.name}")
    comments = [f"emulated by spikeloom: no camera recorded this; {about}"]
    events = write_aedat31(folder / f"{stem}.aedat", recorder.chunks(), comments)
    write_labels(folder, stem, recorder.labels)
    return events


class _Recorder:
    """Records every gesture once, with pauses between them.

    Attributes:
        labels: Class (from 1), start and end in µs of each gesture recorded so far.
    """

    def __init__(self, user: User, light: Light, seed: list[int], scene: Difficulty) -> None:
        self.labels: list[tuple[int, int, int]] = []
        self._user, self._scene = user, scene
        self._contrast = light.contrast * scene.contrast
        self._rng = np.random.default_rng(seed)
        # A separate random stream for what only hard scenes have, so that plain scenes do not depend on it.
        self._around = np.random.default_rng([*seed, 2])
        on, off = _THRESHOLD * np.exp(self._rng.uniform(-_BIAS, _BIAS, 2))
        shot_hz = light.shot_hz * scene.shot
        model = PixelModel(on_threshold=on, off_threshold=off, shot_hz=shot_hz, leak_hz=scene.leak_hz)
        self._sensor = Sensor(model, DVS128_SIZE, DVS128_SIZE, [*seed, 1])
        self._time_us = 0

    def chunks(self) -> Iterator[Events]:
        """The events of the whole recording."""
        empty = np.ones((1, DVS128_SIZE, DVS128_SIZE), np.float32)
        self._sensor.expose(empty, np.zeros(1, np.int64))
        for k in self._rng.permutation(len(GESTURES)):
            self._time_us += round(self._rng.uniform(0.15, 0.3) * 1e6)
            yield self._sensor.expose(empty, np.array([self._time_us]))
            yield from self._gesture(k)

    def _gesture(self, k: int) -> Iterator[Events]:
        motion = self._repeated(self._motion(GESTURES[k]))
        distractors = self._distractors(len(motion.poses))
        times = self._time_us + _FRAME_US * np.arange(1, 1 + len(motion.poses))
        self.labels.append((int(k) + 1, int(times[_FADE_FRAMES]), int(times[-_FADE_FRAMES - 1]) + 1))
        for which, frames in film(motion, DVS128_SIZE, DVS128_SIZE, distractors):
            yield self._sensor.expose(frames, times[which])
        self._time_us = int(times[-1])

    def _motion(self, gesture: str) -> Motion:
        """A random variation of this user's gesture: the shape appears, moves, and vanishes."""
        rng, user = self._rng, self._user
        count = round(user.seconds * rng.uniform(0.9, 1.1) * 1e6 / _FRAME_US)
        t = np.linspace(0, 1, count)
        # Slower at both ends, symmetrically.
        progress = t - rng.uniform(0, 0.7) * np.sin(2 * np.pi * t) / (2 * np.pi)
        x, y, size = path_of(gesture, progress, rng.uniform())
        tilt = user.tilt + np.radians(rng.uniform(-6, 6))
        reach = user.reach * rng.uniform(0.9, 1.1)
        poses = np.empty((count, 5))
        poses[:, 0] = user.x + rng.uniform(-6, 6) + reach * (np.cos(tilt) * x - np.sin(tilt) * y)
        poses[:, 1] = user.y + rng.uniform(-6, 6) + reach * (np.sin(tilt) * x + np.cos(tilt) * y)
        poses[:, 2] = user.radius * rng.uniform(0.9, 1.1) * 2**size
        poses[:, 3] = rng.uniform(0, 2 * np.pi)
        poses[:, 4] = self._contrast * rng.uniform(0.85, 1.15) * rng.choice([-1, 1])
        poses = poses[np.r_[[0] * _FADE_FRAMES, :count, [-1] * _FADE_FRAMES]]
        return Motion(SHAPES[rng.integers(len(SHAPES))], poses).faded(_FADE_FRAMES)

    def _repeated(self, stroke: Motion) -> Motion:
        """The stroke, repeated as often as the difficulty requires, each time slightly shifted."""
        low, high = self._scene.strokes
        strokes = [stroke.poses]
        for _ in range(1, self._around.integers(low, high + 1)):
            moved = stroke.poses.copy()
            moved[:, :2] += self._around.uniform(-_STROKE_SHIFT, _STROKE_SHIFT, 2)
            strokes.append(moved)
        return Motion(stroke.shape, np.concatenate(strokes))

    def _distractors(self, frames: int) -> list[Motion]:
        """The distractors of a gesture; faded, because some are in the scene at its start or end."""
        rng, (low, high) = self._around, self._scene.distractors
        motions = []
        for _ in range(rng.integers(low, high + 1)):
            radius = self._user.radius * rng.uniform(*self._scene.distractor_radius)
            contrast = self._contrast * rng.uniform(0.85, 1.15)
            motions.append(random_distractor(rng, radius, contrast, frames, _FRAME_US, DVS128_SIZE).faded(_FADE_FRAMES))
        return motions
