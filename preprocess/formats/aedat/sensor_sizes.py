"""The sensors that headers of AEDAT 2.0 and 3 name: their sizes.

Sources: the chip classes of https://github.com/SensorsINI/jaer (AEDAT 2.0), the sources of
https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html and cAER's sizes of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from preprocess.formats.recording import Size


@dataclass(frozen=True)
class Sensor:
    """A sensor by name, with its rows and columns."""

    name: str
    size: Size


# The beginnings of names; those of one sensor end in a letter for its variant, as DAVIS240C and Davis346BMono.
_SIZES: dict[str, Size] = {
    "DVS128": (128, 128),
    "DAVIS128": (128, 128),
    "DAVIS208": (192, 208),
    "DAVIS240": (180, 240),
    "DAVIS346": (260, 346),
    # The pixels of these that detect events are fewer than those that take frames.
    "DAVISHET640": (240, 320),
    "DAVIS640HET": (240, 320),
    "DAVIS640": (480, 640),
    "DVS640": (480, 640),
}

# Other names of a DVS128: of its prototype, and of the camera without USB.
_DVS128 = ("TMPDIFF128", "EDVS")


def known_sensor(name: str) -> Sensor | None:
    """Return the sensor of a name in a header, such as ``DAVIS240C``, or None."""
    found = name.upper()
    if found.startswith(_DVS128):
        found = "DVS128"
    return next((Sensor(known, size) for known, size in _SIZES.items() if found.startswith(known)), None)
