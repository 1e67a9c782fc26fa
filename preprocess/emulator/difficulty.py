"""The difficulty of emulated gestures: plain, or hard with effects that also occur in recordings of people.

Hard gestures have the same classes and pairs (`gesture_motions`), and remain recognisable: the gesture is always in
front of the distractors and stays in one place, and no user tilts a swipe by as much as half the angle to a slash.
The differences from plain gestures are:

- Repetitions: a gesture is made one to three times in a row, as in DVS128-Gesture. With few frames per sample, a frame
  mixes the end of one stroke with the beginning of the next, so that only more frames show the direction.
- Distractors: one or two smaller shapes, dark or bright, cross the scene on straight paths in random directions.
- Dim scenes: with 40 % of the contrast, an edge causes one to five events instead of up to thirteen, and the noise is
  nearly four times as strong, as in low light.
- Users: they are faster and differ more in position, tilt, reach and size.

All of this has the symmetry of the gestures: time reversal and an exchange of dark and bright are equally likely, so
nothing of it distinguishes the two gestures of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass

from preprocess.emulator.noise import LEAK_HZ
from preprocess.errors import ConfigError

Range = tuple[float, float]


@dataclass(frozen=True)
class Difficulty:
    """The variation of users and scenes; ranges are sampled uniformly, for counts with both ends included.

    Attributes:
        name: Value of --difficulty.
        radius: Radius of a user's shape in pixels.
        seconds: Duration of a stroke in s.
        reach: Half the length of a swipe in pixels.
        offset: Maximum distance of a user from the centre of the scene in pixels, along each axis.
        tilt: Maximum tilt of a user's paths in degrees.
        contrast: Contrast, as a multiple of that of the lighting condition.
        shot: Shot noise, as a multiple of that of the lighting condition.
        leak_hz: Spontaneous ON events per second and pixel.
        strokes: Number of times that a gesture is made in a row.
        distractors: Number of smaller shapes that cross the scene.
        distractor_radius: Their radius, as a multiple of that of the user's shape.
    """

    name: str
    radius: Range = (8, 12)
    seconds: Range = (0.55, 0.85)
    reach: Range = (26, 34)
    offset: float = 9
    tilt: float = 8
    contrast: float = 1
    shot: float = 1
    leak_hz: float = LEAK_HZ
    strokes: tuple[int, int] = (1, 1)
    distractors: tuple[int, int] = (0, 0)
    distractor_radius: Range = (0.4, 0.7)


PLAIN = Difficulty("plain")

HARD = Difficulty(
    "hard",
    radius=(7, 13),
    seconds=(0.3, 0.6),
    reach=(20, 36),
    offset=14,
    tilt=15,
    contrast=0.4,
    shot=4,
    leak_hz=0.3,
    strokes=(1, 3),
    distractors=(1, 2),
)

DIFFICULTIES = {difficulty.name: difficulty for difficulty in (PLAIN, HARD)}


def find_difficulty(name: str) -> Difficulty:
    """Return the difficulty with this name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in DIFFICULTIES:
        raise ConfigError(f"difficulty: expected one of {', '.join(DIFFICULTIES)}, found {name}")
    return DIFFICULTIES[name]
