"""The names of cache files: ``CACHE/<name>/events.h5``, ``images.h5``, and ``CACHE/<name>/frames/<binning>.h5``."""

from __future__ import annotations

import os
from pathlib import Path

from preprocess.binning.binning_config import Binning
from preprocess.errors import CacheError


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

    `Binning.rule_title` writes the part before the size.

    Args:
        binning: The rule and its values; fields that the rule does not use are not in the name.
        height: Sensor rows; the name has those of the frames.
        width: Sensor columns.
    """
    rows, columns = binning.size(height, width)
    return f"{binning.rule_title}-{rows}x{columns}"


def event_store_in(path: Path) -> Path:
    """The event store that a path means: the file itself, or the only one of a folder ``CACHE`` or ``CACHE/<name>``.

    Raises:
        CacheError: If a folder contains none or several.
    """
    return _only_file(path, ("events.h5", "*/events.h5"), "an event store")


def frame_cache_in(path: Path) -> Path:
    """The frame cache that a path means: as `event_store_in`, and also the only one of a folder ``frames``."""
    inside = ("*.h5",) if path.name == "frames" else ("frames/*.h5", "*/frames/*.h5")
    return _only_file(path, inside, "a frame cache")


def image_store_in(path: Path) -> Path:
    """The image store that a path means: as `event_store_in`."""
    return _only_file(path, ("images.h5", "*/images.h5"), "an image store")


def _only_file(path: Path, patterns: tuple[str, ...], kind: str) -> Path:
    path = path.expanduser().absolute()
    # False also for what may not be looked at, which opening the file then says.
    if not os.path.isdir(path):
        return path
    found = sorted(str(file.relative_to(path)) for pattern in patterns for file in path.glob(pattern))
    if len(found) == 1:
        return path / found[0]
    if not found:
        raise CacheError(
            f"{path}: expected {kind}, found a folder without one. Give CACHE/<name> of a data set that "
            "spikeloom preprocess made, or the file in it."
        )
    raise CacheError(
        f"{path}: expected {kind}, found a folder with {len(found)} of them. Give one: {', '.join(found[:6])}"
        f"{', ...' if len(found) > 6 else ''}"
    )
