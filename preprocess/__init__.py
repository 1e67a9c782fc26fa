"""Raw recordings to event stores and frame caches; never loads torch or ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.lazy import lazy_exports

if TYPE_CHECKING:
    from preprocess.store.event_store import open_events as open_events
    from preprocess.store.frame_cache import open_frames as open_frames
    from preprocess.store.frame_source import EventFrames as EventFrames

__all__ = ["open_events", "open_frames", "EventFrames"]

__getattr__ = lazy_exports(
    __name__,
    {
        "open_events": "preprocess.store.event_store",
        "open_frames": "preprocess.store.frame_cache",
        "EventFrames": "preprocess.store.frame_source",
    },
)
