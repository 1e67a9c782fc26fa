"""What a network was trained on, so that it can be used without the caches: sensor, classes and number of frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from preprocess.store.frame_cache import FrameCache
from preprocess.store.frame_source import EventFrames, FrameSource


@dataclass(frozen=True)
class TrainingInput:
    """The form of a run's data, as `environment.json` keeps it under ``input``.

    Attributes:
        sensor_height: Rows of the sensor.
        sensor_width: Columns of the sensor.
        classes: Names, by class number.
        timesteps: T of the frames, the longest sample's where it varies.
    """

    sensor_height: int
    sensor_width: int
    classes: tuple[str, ...]
    timesteps: int

    @staticmethod
    def of(frames: FrameSource) -> TrainingInput:
        """Of the frames that a run reads."""
        if isinstance(frames, EventFrames):
            height, width = frames.store.height, frames.store.width
        else:
            assert isinstance(frames, FrameCache)
            height, width = int(frames.attributes["sensor_height"]), int(frames.attributes["sensor_width"])
        return TrainingInput(height, width, tuple(frames.classes), frames.timesteps)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"classes": list(self.classes)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrainingInput:
        """The inverse of `to_dict`; KeyError, TypeError or ValueError where the values are damaged."""
        height, width = int(values["sensor_height"]), int(values["sensor_width"])
        return TrainingInput(height, width, tuple(map(str, values["classes"])), int(values["timesteps"]))
