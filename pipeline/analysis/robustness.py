"""Accuracy of trained weights on disturbed samples: noise, hot pixels, dropped events, time jitter, and other T."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import Disturbance, RobustnessOptions
from pipeline.analysis.stored_result import AnalysisResult
from pipeline.config.run_config import override
from pipeline.data import disturbances
from pipeline.data.disturbances import ChangeCounts, ChangedFrames, ChangeEvents
from pipeline.data.run_data import RunData
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.evaluation.other_timesteps import refuse_timesteps
from pipeline.evaluation.wilson_interval import accuracy_interval
from preprocess.errors import ConfigError, RunError
from preprocess.store.cache_file_names import events_path
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.frame_source import EventFrames, FrameSource

# Events of samples that are kept in memory for all levels: 100 MB.
_KEPT_EVENTS = 8_000_000
# In the random seeds of a kind, so that kinds draw independently.
_NUMBERS: dict[Disturbance, int] = {"noise": 1, "hot-pixels": 2, "dropped": 3, "jitter": 4, "timesteps": 5}
UNITS: dict[str, str] = {
    "noise": "noise events per event",
    "hot-pixels": "hot pixels",
    "dropped": "share of events that are dropped",
    "jitter": "time jitter, ms",
    "timesteps": "time steps T",
}


@dataclass(frozen=True)
class RobustnessPoint:
    """The accuracy at one strength of a disturbance.

    Attributes:
        level: The strength in the unit of `UNITS`; 0, or the trained T, for undisturbed samples.
        correct: Number of samples that are classified correctly.
        accuracy: The same as a fraction.
        low: Lower end of its 95 % interval over samples (Wilson).
        high: Upper end.
        firing_rate: Spikes / (neurons * T * samples).
    """

    level: float
    correct: int
    accuracy: float
    low: float
    high: float
    firing_rate: float


@dataclass(frozen=True)
class RobustnessCurve:
    """The accuracy over the strength of one kind of disturbance.

    Attributes:
        kind: A key of `UNITS`.
        points: By increasing level, the undisturbed samples included.
    """

    kind: str
    points: tuple[RobustnessPoint, ...]


@dataclass(frozen=True)
class RobustnessResult(AnalysisResult):
    """Accuracy curves on the same samples.

    Attributes:
        changed: ``events``: events are changed before they are binned; ``frames``: their counts.
        why_frames: Why frames are changed, or "".
        hot_hz: Events per second of a hot pixel; 0 if frames are changed.
        hot_events: Events of a hot pixel in each frame, if frames are changed; otherwise 0.
        curves: One for each kind.
        left_out: The reason for each kind that is not defined for the run and was not asked for alone.
    """

    ANALYSIS: ClassVar[str] = "robustness"

    changed: str
    why_frames: str
    hot_hz: float
    hot_events: int
    curves: tuple[RobustnessCurve, ...]
    left_out: dict[str, str]


def analyse_robustness(target: Path | str | Analysed, options: RobustnessOptions | None = None) -> RobustnessResult:
    """Evaluate trained weights on disturbed samples of the data.

    Args:
        target: A run folder, the name of a preset (whose network is not trained), or an opened one.
        options: The samples, the kinds of disturbance and their levels.

    Raises:
        ConfigError: If the input is not from an event camera, a T is not possible for this run, or no kind is.
        RunError: If the run has no selected weights, or its data changed since the training.
        CacheError: If the data set has neither an event store nor frames.
    """
    options = options or RobustnessOptions()
    analysed = open_analysed(target)
    analysed.require_weights()
    if analysed.config.input.static:
        raise ConfigError(f"{analysed.name}: expected a run on events of a camera, found one on images")
    refuse_timesteps(analysed.config, options.timesteps)
    data = analysed.open_data()
    indices = analysed.choose_samples(data, options)
    bench = _Bench(analysed, data, indices, options)
    with analysed.device() as device:
        curves = tuple(bench.curve(kind, device) for kind in bench.kinds())
    if not curves:
        raise ConfigError(
            f"--kinds: expected at least one that is defined for {analysed.name}, found "
            + "; ".join(f"{kind}: {why}" for kind, why in bench.left_out.items())
        )
    on_events = bench.store is not None
    return RobustnessResult(
        subject=analysed.subject(data=data, part=options.part, samples=len(indices), epoch=bench.epoch),
        changed="events" if on_events else "frames",
        why_frames=bench.why_frames,
        hot_hz=options.hot_hz if on_events else 0.0,
        hot_events=0 if on_events else bench.hot_events,
        curves=curves,
        left_out=bench.left_out,
    )


class _Bench:
    """What is evaluated again and again.

    Attributes:
        store: The event store; None if frames are changed, for the reason `why_frames`.
        left_out: The reason for each kind that is not defined.
        epoch: The epoch of the weights.
    """

    def __init__(
        self, analysed: Analysed, data: RunData, indices: NDArray[np.int64], options: RobustnessOptions
    ) -> None:
        self._analysed, self._data, self._indices, self._options = analysed, data, indices, options
        self.store, self.why_frames = _store_of(analysed, data)
        self._events = None
        if self.store is not None:
            self._events = EventFrames(self.store, analysed.config.binning).keeping_events(_KEPT_EVENTS)
        self.left_out: dict[str, str] = {}
        self.epoch: int | None = None
        self._undisturbed: Evaluation | None = None

    def kinds(self) -> Iterator[Disturbance]:
        """The kinds that are defined for the run; records why others are not."""
        for kind in dict.fromkeys(self._options.kinds):
            why = self._why_not(kind)
            if why:
                self.left_out[kind] = why
            else:
                yield kind

    def _why_not(self, kind: Disturbance) -> str:
        if kind == "jitter" and self.store is None:
            return f"frames have no times ({self.why_frames})"
        if kind != "timesteps":
            return ""
        if self.store is None:
            return f"frames cannot be binned again ({self.why_frames})"
        try:
            refuse_timesteps(self._analysed.config, self._timesteps)
        except ConfigError as error:
            return str(error).removeprefix("--timesteps: ")
        return ""

    @property
    def _timesteps(self) -> tuple[int, ...]:
        trained = self._analysed.config.binning.timesteps
        others = self._options.timesteps or (max(1, trained // 2), 2 * trained)
        return tuple(sorted({*others} - {trained}))

    @property
    def hot_events(self) -> int:
        """Events of a hot pixel in each frame: the largest count of the first sample, as a frame has no duration."""
        return int(self._data.frames.read(int(self._indices[0])).max())

    def curve(self, kind: Disturbance, device: torch.device) -> RobustnessCurve:
        """Evaluate all levels of a kind, and the undisturbed samples."""
        trained = float(self._analysed.config.binning.timesteps) if kind == "timesteps" else 0.0
        if self._undisturbed is None:
            self._undisturbed = self._evaluate(self._analysed, self._data.frames, device)
        found = {trained: self._undisturbed}
        levels = {
            "noise": self._options.noise, "hot-pixels": self._options.hot_pixels, "dropped": self._options.dropped,
            "jitter": self._options.jitter_ms, "timesteps": self._timesteps,
        }[kind]  # fmt: skip
        for number, level in enumerate(levels):
            seed = (self._options.seed, _NUMBERS[kind], number)
            if kind == "timesteps":
                found[float(level)] = self._at(int(level), device)
            else:
                found[float(level)] = self._evaluate(self._analysed, self._changed(kind, level, seed), device)
        return RobustnessCurve(kind, tuple(_point(level, found[level]) for level in sorted(found)))

    def _changed(self, kind: Disturbance, level: float, seed: tuple[int, ...]) -> FrameSource:
        if self._events is None:
            return ChangedFrames(self._data.frames, self._change_counts(kind, level, seed))
        frames = self._events.changed(self._change_events(kind, level, seed))
        if kind in ("noise", "hot-pixels"):
            # Added events may exceed what fits any undisturbed sample.
            frames.dtype = np.dtype(np.uint32)
        return frames

    def _change_events(self, kind: Disturbance, level: float, seed: tuple[int, ...]) -> ChangeEvents:
        if kind == "noise":
            return disturbances.add_noise(level, seed)
        if kind == "hot-pixels":
            return disturbances.add_hot_pixels(int(level), self._options.hot_hz, seed)
        if kind == "dropped":
            return disturbances.drop_events(level, seed)
        return disturbances.jitter_times(1000.0 * level, seed)

    def _change_counts(self, kind: Disturbance, level: float, seed: tuple[int, ...]) -> ChangeCounts:
        if kind == "noise":
            return disturbances.add_noise_to_counts(level, seed)
        if kind == "hot-pixels":
            return disturbances.add_hot_pixels_to_counts(int(level), self.hot_events, seed)
        return disturbances.drop_counts(level, seed)

    def _at(self, timesteps: int, device: torch.device) -> Evaluation:
        """Evaluate at another T, with the samples binned again."""
        assert self.store is not None
        # The last two do not change the forward pass in evaluation mode, but would be invalid at another T.
        changes = {"binning.timesteps": timesteps, "neuron.timesteps": None, "grad_steps": None}
        config = override(self._analysed.config, changes)
        run = self._analysed.run
        other = replace(self._analysed, config=config, run=None if run is None else replace(run, config=config))
        return self._evaluate(other, EventFrames(self.store, config.binning), device)

    def _evaluate(self, analysed: Analysed, frames: FrameSource, device: torch.device) -> Evaluation:
        data = replace(self._data, frames=frames)
        try:
            network, self.epoch = analysed.load_network(data, device)
        except RunError as error:
            if frames.timesteps == self._data.frames.timesteps:
                raise
            raise ConfigError(
                f"--timesteps: the weights of this run do not fit T = {frames.timesteps} ({error})"
            ) from None
        return evaluate(network, analysed.load_samples(data, self._indices, device), analysed.config.loss)


def _store_of(analysed: Analysed, data: RunData) -> tuple[EventStore | None, str]:
    """The event store of a data set; or None and why frames are changed instead."""
    if data.frames.binning.varies:
        return None, "T varies"
    path = events_path(analysed.cache, analysed.config.dataset.name)
    if analysed.config.binning.imported or not path.exists():
        return None, "the data set has no event store"
    return open_events(path), ""


def _point(level: float, found: Evaluation) -> RobustnessPoint:
    low, high = accuracy_interval(found.correct, len(found.labels))
    return RobustnessPoint(level, found.correct, found.accuracy, low, high, found.firing_rate)
