"""Raw recordings to event stores and frame caches; never loads torch or ray."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preprocess.event_store import open_events as open_events
    from preprocess.frame_cache import open_frames as open_frames
    from preprocess.frame_source import EventFrames as EventFrames

__all__ = ["open_events", "open_frames", "EventFrames"]

_HOMES = {"open_events": "event_store", "open_frames": "frame_cache", "EventFrames": "frame_source"}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: HDF5 would slow every start of the command line.
    if name not in _HOMES:
        raise AttributeError(f"module 'preprocess' has no attribute '{name}'")
    return getattr(import_module(f"preprocess.{_HOMES[name]}"), name)
