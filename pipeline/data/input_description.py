"""The sensor size, classes and number of frames a network was trained on, so that it can be used without the caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.data.input_encoding import normalisation_of
from preprocess.datasets.images.image_layout import Normalisation
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
        normalisation: Mean and standard deviation of the channels of images; None for events.
        window_us: Length in µs of the windows that its recordings were cut into; None for whole recordings, intervals
            of a manifest, and caches of earlier versions.
    """

    sensor_height: int
    sensor_width: int
    classes: tuple[str, ...]
    timesteps: int
    normalisation: Normalisation | None = None
    window_us: int | None = None

    @staticmethod
    def of(frames: FrameSource) -> TrainingInput:
        """From the frames that a run reads."""
        normalisation = normalisation_of(frames)
        if normalisation is not None:
            height, width, window = frames.height, frames.width, None
        elif isinstance(frames, EventFrames):
            height, width, window = frames.store.height, frames.store.width, frames.store.window_us
        else:
            assert isinstance(frames, FrameCache)
            height, width = int(frames.attributes["sensor_height"]), int(frames.attributes["sensor_width"])
            window = frames.window_us
        classes = tuple(frames.classes)
        return TrainingInput(height, width, classes, frames.timesteps, normalisation, window)

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values, for JSON."""
        plain = asdict(self) | {"classes": list(self.classes)}
        # As in earlier versions where there are no images, or no windows.
        del plain["normalisation"]
        if self.window_us is None:
            del plain["window_us"]
        given = {} if self.normalisation is None else {"normalisation": [list(v) for v in self.normalisation]}
        return plain | given

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TrainingInput:
        """The inverse of `to_dict`; raises KeyError, TypeError or ValueError if the values are damaged."""
        height, width = int(values["sensor_height"]), int(values["sensor_width"])
        normalisation = None
        if "normalisation" in values:
            mean, deviation = ((float(r), float(g), float(b)) for r, g, b in values["normalisation"])
            normalisation = Normalisation(mean, deviation)
        classes = tuple(map(str, values["classes"]))
        window = values.get("window_us")
        timesteps = int(values["timesteps"])
        return TrainingInput(height, width, classes, timesteps, normalisation, None if window is None else int(window))
