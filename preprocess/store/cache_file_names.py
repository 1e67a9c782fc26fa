"""The names of cache files: ``CACHE/<name>/events.h5``, ``images.h5``, and ``CACHE/<name>/frames/<binning>.h5``."""

from __future__ import annotations

from pathlib import Path

from preprocess.binning.binning_config import Binning


def events_path(cache: Path, name: str) -> Path:
    """The event store of a data set, ``CACHE/<name>/events.h5``."""
    return cache / name / "events.h5"


def images_path(cache: Path, name: str) -> Path:
    """The image store of a data set of static images, ``CACHE/<name>/images.h5``."""
    return cache / name / "images.h5"


def frames_path(cache: Path, name: str, binning: Binning, height: int, width: int) -> Path:
    """The frame cache of a data set and binning, for a sensor of the given size."""
    return cache / name / "frames" / f"{frame_cache_name(binning, height, width)}.h5"


def frame_cache_name(binning: Binning, height: int, width: int) -> str:
    """The readable name of a frame cache, such as ``number-T20-128x128`` or ``duration-10000us-128x128``.

    Args:
        binning: The rule and its values; fields that the rule does not use are not in the name.
        height: Sensor rows; the name has those of the frames.
        width: Sensor columns.
    """
    rows, columns = binning.size(height, width)
    return f"{binning.rule_title}-{rows}x{columns}"
