"""The lighting conditions in which emulated users are recorded: contrast and shot noise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Light:
    """A lighting condition.

    Attributes:
        contrast: Natural logarithm of the ratio of the luminance of a bright shape to that of the background, and of
            the background to that of a dark shape.
        shot_hz: Shot noise in events per second and pixel.
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
