"""Convert raw recordings to event stores and frame caches; imports neither torch nor ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from preprocess.binning.binning_config import Binning as Binning
    from preprocess.binning.count_events import bin_events as bin_events
    from preprocess.building.build_image_store import PreprocessedImages as PreprocessedImages
    from preprocess.building.build_image_store import preprocess_images as preprocess_images
    from preprocess.building.preprocess_dataset import PreprocessedDataset as PreprocessedDataset
    from preprocess.building.preprocess_dataset import preprocess_dataset as preprocess_dataset
    from preprocess.datasets.layout import Layout as Layout
    from preprocess.datasets.layout import Sample as Sample
    from preprocess.datasets.layout import SourceRecording as SourceRecording
    from preprocess.datasets.registry import register_dataset as register_dataset
    from preprocess.errors import SpikeloomError as SpikeloomError
    from preprocess.events import Events as Events
    from preprocess.formats.read_events import read_events as read_events
    from preprocess.formats.registry import register_format as register_format
    from preprocess.frame_import.import_frames import ImportedDataset as ImportedDataset
    from preprocess.frame_import.import_frames import import_frames as import_frames
    from preprocess.store.event_store import open_events as open_events
    from preprocess.store.frame_cache import open_frames as open_frames
    from preprocess.store.frame_source import EventFrames as EventFrames
    from preprocess.store.image_store import open_images as open_images
    from preprocess.store.repeated_images import RepeatedImages as RepeatedImages

_HOMES = {
    "Events": "preprocess.events",
    "read_events": "preprocess.formats.read_events",
    "Binning": "preprocess.binning.binning_config",
    "bin_events": "preprocess.binning.count_events",
    "preprocess_dataset": "preprocess.building.preprocess_dataset",
    "PreprocessedDataset": "preprocess.building.preprocess_dataset",
    "preprocess_images": "preprocess.building.build_image_store",
    "PreprocessedImages": "preprocess.building.build_image_store",
    "import_frames": "preprocess.frame_import.import_frames",
    "ImportedDataset": "preprocess.frame_import.import_frames",
    "open_events": "preprocess.store.event_store",
    "open_frames": "preprocess.store.frame_cache",
    "EventFrames": "preprocess.store.frame_source",
    "open_images": "preprocess.store.image_store",
    "RepeatedImages": "preprocess.store.repeated_images",
    "register_format": "preprocess.formats.registry",
    "register_dataset": "preprocess.datasets.registry",
    "Layout": "preprocess.datasets.layout",
    "Sample": "preprocess.datasets.layout",
    "SourceRecording": "preprocess.datasets.layout",
    "SpikeloomError": "preprocess.errors",
}

__all__ = list(_HOMES)

__getattr__ = lazy_exports(__name__, _HOMES)


def __dir__() -> list[str]:
    """Names for tab completion, including exports that are not loaded yet."""
    return sorted({*globals(), *_HOMES})
