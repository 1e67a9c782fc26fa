"""How hard emulated gestures are to tell apart: plain, or hard by what also troubles recordings of people.

Hard keeps the classes and their pairs (`paths`) and hides no gesture: it is in front of everything, in one place while
others pass by, and no user tilts a swipe as far as halfway to a slash. What it changes:

- Gestures are made one to three times in a row, as people in DVS128-Gesture repeat theirs: few frames a sample then
  mix the beginning of one stroke with the end of another, and only finer frames show which way it goes.
- Passers-by: one or two smaller shapes cross the picture meanwhile, each on a straight way of its own, anywhere, in any
  direction, dark or bright.
- Dim scenes: two fifths of the contrast, so that an edge makes one to five events where it made up to thirteen,
  amid nearly four times the noise, as sensors have it in little light.
- Users who are faster and differ more: in where they stand, how they tilt, how far they reach, how large they are.

All of it is as likely backwards and dark for bright, as the gestures are: nothing of it tells the two of a pair apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from preprocess.errors import ConfigError

Range = tuple[float, float]


@dataclass(frozen=True)
class Difficulty:
    """What users do and what surrounds them; ranges are drawn from uniformly, both ends of counts included.

    Attributes:
        name: As the user asks for it.
        radius: Of a user's shape, in pixels.
        seconds: One stroke of a gesture takes a user.
        reach: Half the way of a user's swipe, in pixels.
        offset: The farthest that a user stands from the middle, in pixels, along each axis.
        tilt: The largest tilt of a user's paths, in degrees.
        contrast: Times the light's.
        shot: Shot noise, times the light's.
        leak_hz: Spontaneous ON events per second and pixel.
        strokes: How often a gesture is made in a row.
        passers: How many smaller shapes cross the picture.
        passer_radius: Theirs, times the user's shape's.
    """

    name: str
    radius: Range = (8, 12)
    seconds: Range = (0.55, 0.85)
    reach: Range = (26, 34)
    offset: float = 9
    tilt: float = 8
    contrast: float = 1
    shot: float = 1
    leak_hz: float = 0.1
    strokes: tuple[int, int] = (1, 1)
    passers: tuple[int, int] = (0, 0)
    passer_radius: Range = (0.4, 0.7)


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
    passers=(1, 2),
)

DIFFICULTIES = {difficulty.name: difficulty for difficulty in (PLAIN, HARD)}


def find_difficulty(name: str) -> Difficulty:
    """The difficulty of a name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in DIFFICULTIES:
        raise ConfigError(f"difficulty: expected one of {', '.join(DIFFICULTIES)}, found {name}")
    return DIFFICULTIES[name]
