"""Eleven gestures of moving shapes, recorded as DVS128-Gesture was: one recording for a user in a light.

    OUT/user01_led.aedat               AEDAT 3.1: all eleven gestures, one after another, in random order
    OUT/user01_led_labels.csv
    OUT/trials_to_train.txt            the first users
    OUT/trials_to_test.txt             the last fifth of the users
    OUT/emulated.json                  says that an emulator made them
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocess.emulator.folder import make_folder
from preprocess.emulator.paths import GESTURES, path_of
from preprocess.emulator.sensor import PixelModel, Sensor
from preprocess.emulator.shapes import SHAPES, Motion, film
from preprocess.emulator.writers import DVS128_SIZE, write_aedat31
from preprocess.errors import ConfigError
from preprocess.events import Events
from preprocess.progress import Progress

# No shape moves further in this time than its edge is wide.
_FRAME_US = 2000
_FADE_FRAMES = 30
_TEST_SHARE = 0.2
_THRESHOLD = 0.15
# A pixel that has risen must fall by a threshold more before it says so. A bright shape thus leaves fewer OFF than ON
# events behind, a dark one fewer ON events, and whoever knows dark from bright knows a swipe's direction from its sum
# over time. A camera's two thresholds are set anew for each recording, by up to this factor's logarithm: far enough to
# cover the trace.
_BIAS = 0.4


@dataclass(frozen=True)
class Light:
    """What the shapes are filmed in.

    Attributes:
        contrast: Natural logarithm of the luminance of a bright shape over the background's, and of the background's
            over a dark shape's.
        shot_hz: Noise events a second and pixel.
    """

    contrast: float
    shot_hz: float


LIGHTS = {
    "fluorescent": Light(0.9, 0.3),
    "fluorescent_led": Light(1.1, 0.2),
    "lab": Light(0.8, 0.4),
    "led": Light(1.2, 0.15),
    "natural": Light(1.0, 0.25),
}


@dataclass(frozen=True)
class User:
    """How somebody gestures.

    Attributes:
        radius: Of the shape, in pixels.
        seconds: A gesture takes.
        reach: Half the way of a swipe, in pixels.
        x: Column about which the gestures happen.
        y: Row.
        tilt: Of all paths, in radians.
    """

    radius: float
    seconds: float
    reach: float
    x: float
    y: float
    tilt: float

    @staticmethod
    def random(rng: np.random.Generator) -> User:
        return User(
            radius=rng.uniform(8, 12),
            seconds=rng.uniform(0.55, 0.85),
            reach=rng.uniform(26, 34),
            x=DVS128_SIZE / 2 + rng.uniform(-9, 9),
            y=DVS128_SIZE / 2 + rng.uniform(-9, 9),
            tilt=np.radians(rng.uniform(-8, 8)),
        )


def emulate_gestures(out: Path, *, samples_per_class: int, seed: int, progress: Progress | None = None) -> Path:
    """Film `samples_per_class` recordings of all gestures by as many users as that takes in five lights.

    Args:
        out: The folder to make.
        samples_per_class: Recordings, for training and test together.
        seed: Equal seeds give equal bytes.
        progress: Where to tell how far it is.

    Returns:
        The folder.

    Raises:
        ConfigError: If there are too few samples for a training and a test user.
        LayoutError: If the folder holds something else or cannot be written.
    """
    if samples_per_class < 2:
        raise ConfigError(
            f"samples per class: expected at least 2 (one user to train, one to test), found {samples_per_class}"
        )
    progress = progress or Progress()

    def fill(folder: Path) -> dict[str, int]:
        users = max(2, -(-samples_per_class // len(LIGHTS)))
        # Users take turns, so that each has as many recordings as the next, or one more.
        trials = [(i % users, list(LIGHTS)[i // users]) for i in range(samples_per_class)]
        events = 0
        with progress.task("emulating gestures", samples_per_class, "recordings") as advance:
            for user, light in trials:
                events += _record(folder, user, light, seed)
                advance(1)
        _write_lists(folder, sorted(trials), users)
        return {"recordings": len(trials), "samples": len(trials) * len(GESTURES), "events": events}

    make_folder(out, "gestures", samples_per_class, seed, fill)
    return out


def _write_lists(folder: Path, trials: list[tuple[int, str]], users: int) -> None:
    train_users = users - max(1, round(_TEST_SHARE * users))
    for name, chosen in (
        ("trials_to_train.txt", [trial for trial in trials if trial[0] < train_users]),
        ("trials_to_test.txt", [trial for trial in trials if trial[0] >= train_users]),
    ):
        (folder / name).write_text("".join(f"{_stem(*trial)}.aedat\n" for trial in chosen))


def _stem(user: int, light: str) -> str:
    return f"user{user + 1:02d}_{light}"


def _record(folder: Path, user: int, light: str, seed: int) -> int:
    """Write a recording and its labels; how many events it holds."""
    stem = _stem(user, light)
    habits = User.random(np.random.default_rng([seed, user]))
    recorder = _Recorder(habits, LIGHTS[light], [seed, user, list(LIGHTS).index(light)])
    comments = [f"emulated by spikeloom: no camera recorded this; user {user + 1}, light {light}, seed {seed}"]
    events = write_aedat31(folder / f"{stem}.aedat", recorder.chunks(), comments)
    lines = ["class,startTime_usec,endTime_usec", *(",".join(map(str, label)) for label in recorder.labels)]
    (folder / f"{stem}_labels.csv").write_text("".join(f"{line}\n" for line in lines))
    return events


class _Recorder:
    """Films one recording: every gesture once, with pauses between them.

    Attributes:
        labels: Class from 1, start and end in µs of the gestures filmed so far.
    """

    def __init__(self, user: User, light: Light, seed: list[int]) -> None:
        self.labels: list[tuple[int, int, int]] = []
        self._user, self._light = user, light
        self._rng = np.random.default_rng(seed)
        on, off = _THRESHOLD * np.exp(self._rng.uniform(-_BIAS, _BIAS, 2))
        model = PixelModel(on_threshold=on, off_threshold=off, shot_hz=light.shot_hz)
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
        motion = self._motion(GESTURES[k])
        times = self._time_us + _FRAME_US * np.arange(1, 1 + len(motion.poses))
        self.labels.append((int(k) + 1, int(times[_FADE_FRAMES]), int(times[-_FADE_FRAMES - 1]) + 1))
        for which, frames in film(motion, DVS128_SIZE, DVS128_SIZE):
            yield self._sensor.expose(frames, times[which])
        self._time_us = int(times[-1])

    def _motion(self, gesture: str) -> Motion:
        """A gesture as this user makes it this time: the shape appears, moves, and vanishes."""
        rng, user = self._rng, self._user
        count = round(user.seconds * rng.uniform(0.9, 1.1) * 1e6 / _FRAME_US)
        t = np.linspace(0, 1, count)
        # Slow at both ends, and as slow at the one as at the other.
        progress = t - rng.uniform(0, 0.7) * np.sin(2 * np.pi * t) / (2 * np.pi)
        x, y, size = path_of(gesture, progress, rng.uniform())
        tilt = user.tilt + np.radians(rng.uniform(-6, 6))
        reach = user.reach * rng.uniform(0.9, 1.1)
        poses = np.empty((count, 5))
        poses[:, 0] = user.x + rng.uniform(-6, 6) + reach * (np.cos(tilt) * x - np.sin(tilt) * y)
        poses[:, 1] = user.y + rng.uniform(-6, 6) + reach * (np.sin(tilt) * x + np.cos(tilt) * y)
        poses[:, 2] = user.radius * rng.uniform(0.9, 1.1) * 2**size
        poses[:, 3] = rng.uniform(0, 2 * np.pi)
        poses[:, 4] = self._light.contrast * rng.uniform(0.85, 1.15) * rng.choice([-1, 1])
        fade = np.linspace(0, 1, _FADE_FRAMES)
        appear, vanish = poses[[0] * _FADE_FRAMES], poses[[-1] * _FADE_FRAMES]
        appear[:, 4] *= fade
        vanish[:, 4] *= fade[::-1]
        return Motion(SHAPES[rng.integers(len(SHAPES))], np.concatenate([appear, poses, vanish]))
