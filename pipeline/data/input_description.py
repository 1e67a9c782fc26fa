"""The sensor size, classes and number of frames a network was trained on, so that it can be used without the caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from preprocess.store.frame_cache import FrameCache
from preprocess.store.frame_source import EventFrames, FrameSource


@dataclass(frozen=True)
class TrainingInput:
    """The format of a run's data, as stored in `environment.json` under ``input``.

    Attributes:
        sensor_height: Number of sensor rows.
        sensor_width: Number of sensor columns.
        classes: Names, by class number.
        timesteps: T of the frames; that of the longest sample if it varies.
    """

    sensor_height: int
    sensor_width: int
    classes: tuple[str, ...]
    timesteps: int

    @staticmethod
    def of(frames: FrameSource) -> TrainingInput:
        """From the frames that a run reads."""
        if isinstance(frames, EventFrames):
            height, width = frames.store.height, frames.store.width
        else:
            assert isinstance(frames, FrameCache)
            height, width = int(frames.attributes["sensor_height"]), int(frames.attributes["sensor_width"])
        return TrainingInput(height, width, tuple(frames.classes), frames.timesteps)

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for JSON."""
        return asdict(self) | {"classes": list(self.classes)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrainingInput:
        """The inverse of `to_dict`; raises KeyError, TypeError or ValueError if the values are damaged."""
        height, width = int(values["sensor_height"]), int(values["sensor_width"])
        return TrainingInput(height, width, tuple(map(str, values["classes"])), int(values["timesteps"]))
