"""The lighting conditions in which emulated users are recorded: contrast and shot noise."""

from __future__ import annotations

from dataclasses import dataclass

from preprocess.emulator.noise import SHOT_HZ


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


_CONTRASTS = {"fluorescent": 0.9, "fluorescent_led": 1.1, "lab": 0.8, "led": 1.2, "natural": 1.0}
LIGHTS = {name: Light(contrast, SHOT_HZ[name]) for name, contrast in _CONTRASTS.items()}
