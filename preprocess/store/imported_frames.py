"""Data sets without events: imported frames, and static images.

Frames that other programs made (`preprocess.frame_import`) are one frame cache, ``CACHE/<name>/frames/imported-*.h5``,
which has one T and cannot be binned again. Static images are one image store, which has no time steps.
"""

from __future__ import annotations

from pathlib import Path

from preprocess.binning.binning_config import Binning
from preprocess.errors import ConfigError
from preprocess.store.cache_file_names import events_path
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.frame_cache import FrameCache, open_frames
from preprocess.store.image_store import ImageStore, find_images, open_images

DataFile = EventStore | FrameCache | ImageStore
"""What a data set is made of."""


def find_imported(cache: Path, name: str) -> Path | None:
    """The path of a data set's imported frames; None if there are none, or the data set has an event store."""
    try:
        if events_path(cache, name).exists():
            return None
        return next(iter(sorted((cache / name / "frames").glob("imported*.h5"))), None)
    except OSError:
        # A folder without permissions, of which opening an event store in it says more.
        return None


def open_imported(cache: Path, name: str) -> FrameCache | None:
    """Open the imported frames of a data set; None as for `find_imported`, CacheError if they are damaged."""
    path = find_imported(cache, name)
    return None if path is None else open_frames(path)


def open_dataset(cache: Path, name: str) -> DataFile:
    """Open what a data set is made of: its event store, imported frames or image store.

    Raises:
        CacheError: If it has none of them, or the file is damaged.
    """
    images = find_images(cache, name)
    if images is not None:
        return open_images(images)
    return open_imported(cache, name) or open_events(events_path(cache, name))


def check_input(found: DataFile, name: str, binning: Binning, source: str = "cache", encoding: str = "counts") -> None:
    """Refuse a binning, or a source or encoding of the network's input, that a data set does not have.

    Args:
        found: What `open_dataset` returns.
        name: The name of the data set.
        binning: The requested binning.
        source: `input.source`: cache or events.
        encoding: `input.encoding`; direct is for images.

    Raises:
        ConfigError: In one line, with the options to change.
    """
    if isinstance(found, ImageStore):
        if encoding != "direct":
            raise ConfigError(
                f"input.encoding: expected direct, because {name} has images, found {encoding}. Choose a preset for "
                "images, such as images-small, or set --input.encoding direct."
            )
        return
    if encoding == "direct":
        raise ConfigError(
            f"input.encoding: expected counts, binary or pil-la, because {name} has events, found direct. Choose a "
            "preset for events, or set --input.encoding counts."
        )
    if isinstance(found, EventStore):
        if binning.imported:
            raise ConfigError(
                f"binning.split_by: expected a rule that bins events, because {name} has an event store, found "
                f"{binning.split_by}. Choose, for example, number."
            )
        return
    if source == "events":
        raise ConfigError(
            f"input.source: expected cache, because the frames of {name} were imported and its events are not known, "
            "found events. Leave it out."
        )
    if found.binning.plain() != binning.plain():
        expected, given = found.binning.to_attributes(), binning.to_attributes()
        changes = [f"--binning.{key.replace('_', '-')} {value}" for key, value in expected.items()]
        wrong = ", ".join(f"{key} {value}" for key, value in given.items() if expected.get(key) != value)
        raise ConfigError(
            f"binning: expected {' '.join(changes)}, because the frames of {name} were imported and cannot be binned "
            f"again, found {wrong}. Set these options; for another T, import other frames under another name."
        )
