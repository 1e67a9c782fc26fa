"""The sections of a run's configuration: frozen dataclasses, each of which names its own faults.

DESIGN: a field path is ``<section>.<field>``. `pipeline.config.run_config.RunConfig` puts them together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.config.augmentation_names import augmentation_errors
from pipeline.config.neuron_traits import NEURONS, traits_of
from pipeline.config.surrogate_names import surrogate_errors
from preprocess.datasets.splits import title_of_split

TimeOrder = Literal["as-is", "shuffled", "reversed", "one-frame"]


@dataclass(frozen=True)
class DatasetConfig:
    """Which cache, and which of its samples train, select and test."""

    name: str = "n-mnist"
    """Name of the cache folder, such as n-mnist or dvs-gesture."""
    split: Literal["official", "first-900-train", "first-100-test", "random-0.9", "by-group", "split-in-time"] = (
        "official"
    )
    """Which samples are test samples; `official` needs a data set that has an official split."""
    validation_fraction: float = 0.1
    """Share of the training samples held out for selection; whole groups where the data set has groups."""
    augmentation: str = "none"
    """What changes training samples anew each epoch, joined by +, such as flip+rotation. Of frames: flip, roll,
    rotation, shear, crop, cutout, event-drop; of events, with input.source events: time-jitter, spatial-jitter,
    drop-events."""

    @property
    def split_title(self) -> str:
        """The split for people; it says so where training and test share recordings."""
        return title_of_split(self.split)

    def errors(self) -> Iterator[str]:
        if not self.name or "/" in self.name:
            yield f"dataset.name: expected a cache name such as n-mnist, found '{self.name}'"
        if not 0.0 < self.validation_fraction < 1.0:
            yield f"dataset.validation_fraction: expected a share in (0, 1), found {self.validation_fraction}"
        yield from augmentation_errors(self.augmentation)


@dataclass(frozen=True)
class InputConfig:
    """How frames enter the network."""

    source: Literal["cache", "events"] = "cache"
    """cache: from a frame cache, made where it is missing; events: binned from the event store batch by batch, so that
    no frame cache is made. Both give the same frames."""
    size: int | None = None
    """Height and width in pixels after resizing; None keeps the frames' own."""
    resize: Literal["bilinear", "bilinear-antialias", "nearest"] = "bilinear"
    encoding: Literal["counts", "binary", "pil-la"] = "counts"
    """counts: events per pixel, unscaled; binary: 1 where any; pil-la: as the CLIF authors' CIFAR10-DVS loader."""
    time_order: TimeOrder = "as-is"
    """A control of what the order of time is worth, on training, validation and test samples alike. shuffled: a
    sample's steps in random order, another one each epoch of training; reversed: backwards; one-frame: the frame with
    the most events alone, where it is, all others empty."""

    def errors(self) -> Iterator[str]:
        if self.size is not None and self.size < 1:
            yield f"input.size: expected at least 1 pixel, found {self.size}"


@dataclass(frozen=True)
class NetworkConfig:
    """Which network, how wide, and how it normalises."""

    name: str = "spiking-vgg-small"
    width: float = 1.0
    """Multiplies every hidden layer's channels; 1 is the paper's."""
    dropout: float = 0.0
    """One mask a sample for all time steps."""
    batch_norm: Literal["per-step", "joint"] = "per-step"
    """per-step: each time step over its own B images (the paper's); joint: over T*B images at once."""
    head: Literal["paper", "gap"] = "paper"
    """paper: adaptive pooling to 7x7, then one linear layer; gap: global average pooling instead."""

    def errors(self) -> Iterator[str]:
        if not 0 < self.width < math.inf:
            yield f"network.width: expected more than 0, found {self.width}"
        if not 0.0 <= self.dropout < 1.0:
            yield f"network.dropout: expected a share in [0, 1), found {self.dropout}"


@dataclass(frozen=True)
class NeuronConfig:
    """The spiking neuron; the defaults are the CLIF paper's settings for LIF and CLIF alike."""

    name: str = "lif"
    tau: float = 2.0
    """Membrane time constant in time steps, > 1."""
    surrogate: str = "rect"
    """Surrogate gradient: rect, triangle, sigmoid, atan, or a registered name."""
    alpha: float = 1.0
    """SpikingJelly's alpha: the rectangle is alpha * 1[|x| < 0.5 / alpha]."""
    v_threshold: float = 1.0
    reset: Literal["soft", "hard"] = "soft"
    """After a spike the potential falls by v_threshold (soft) or to 0 (hard); hard is for lif, plif, klif and if."""
    decay_input: bool = False
    """Whether the input is divided by tau: lif, plif and klif."""
    detach_reset: bool = False
    """Whether the reset carries no gradient: lif, plif, klif and if."""
    backend: Literal["auto", "fused", "torch"] = "auto"
    timesteps: int | None = None
    """T, for neurons with weights for each time step (glif, psn); the network fills it in from the frames."""

    def errors(self) -> Iterator[str]:
        if not 1.0 < self.tau < math.inf:
            yield f"neuron.tau: expected more than 1 time step, found {self.tau}"
        if not 0 < self.alpha < math.inf:
            yield f"neuron.alpha: expected more than 0, found {self.alpha}"
        if not 0 < self.v_threshold < math.inf:
            yield f"neuron.v_threshold: expected more than 0, found {self.v_threshold}"
        if self.timesteps is not None and self.timesteps < 1:
            yield f"neuron.timesteps: expected at least 1, found {self.timesteps}"
        yield from surrogate_errors(self.surrogate)
        yield from self._reset_errors()

    @property
    def title(self) -> str:
        """For tables: the name, and tau where the neuron has one, such as ``lif, tau 2``."""
        words = [self.name]
        if traits_of(self.name).has_tau:
            words.append(f"tau {self.tau:g}")
        if self.reset != "soft":
            words.append(f"{self.reset} reset")
        return ", ".join(words)

    def _reset_errors(self) -> Iterator[str]:
        """A line for each of these that the neuron does not accept; every neuron accepts tau and v_threshold."""
        for name in ("reset", "detach_reset", "decay_input"):
            value, default = getattr(self, name), getattr(NeuronConfig, name)
            if value != default and not traits_of(self.name).accepts(name):
                others = ", ".join(other for other, neuron in NEURONS.items() if neuron.traits.accepts(name))
                yield (
                    f"neuron.{name}: expected {default} for neuron '{self.name}', found {value}. "
                    f"Neurons that accept it: {others}."
                )


@dataclass(frozen=True)
class LossConfig:
    """(1 - mse_weight) * mean CE(o_t, y) + mse_weight * MSE(o_t, target), over time steps and samples."""

    mse_weight: float = 0.05
    """The paper's lambda."""
    mse_target: Literal["constant", "one-hot"] = "constant"
    """constant: 1.0 for every class, a regulariser; one-hot: the label."""
    label_smoothing: float = 0.0
    last_steps: int | None = None
    """The answer is read in the last so many time steps of a sample: loss and prediction are of these alone. None is
    all T."""

    def errors(self) -> Iterator[str]:
        if not 0.0 <= self.mse_weight <= 1.0:
            yield f"loss.mse_weight: expected a share in [0, 1], found {self.mse_weight}"
        if not 0.0 <= self.label_smoothing < 1.0:
            yield f"loss.label_smoothing: expected a share in [0, 1), found {self.label_smoothing}"
        if self.last_steps is not None and self.last_steps < 1:
            yield f"loss.last_steps: expected at least 1, found {self.last_steps}"


@dataclass(frozen=True)
class OptimiserConfig:
    """How weights follow gradients."""

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float | None = None
    """The largest norm of all gradients together; longer ones are shortened to it."""
    ema_decay: float | None = None
    """Evaluate and keep the moving average of the weights instead, with this decay a step: 0.99 looks back some 100."""

    def errors(self) -> Iterator[str]:
        if not 0 < self.learning_rate < math.inf:
            yield f"optimiser.learning_rate: expected more than 0, found {self.learning_rate}"
        if not 0.0 <= self.momentum < 1.0:
            yield f"optimiser.momentum: expected a share in [0, 1), found {self.momentum}"
        if not 0 <= self.weight_decay < math.inf:
            yield f"optimiser.weight_decay: expected at least 0, found {self.weight_decay}"
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            yield f"optimiser.clip_norm: expected more than 0, found {self.clip_norm}"
        if self.ema_decay is not None and not 0.0 < self.ema_decay < 1.0:
            yield f"optimiser.ema_decay: expected a share in (0, 1), found {self.ema_decay}"


@dataclass(frozen=True)
class ScheduleConfig:
    """How long to train and how the learning rate falls."""

    name: Literal["cosine", "step", "constant"] = "cosine"
    """cosine: from the learning rate to 0 over all epochs; step: times step_factor after every step_epochs."""
    epochs: int = 300
    warmup_epochs: int = 0
    """The learning rate rises linearly over so many epochs first."""
    step_epochs: int = 100
    step_factor: float = 0.1
    patience: int | None = None
    """Stop after so many epochs in which nothing better was selected; None never does. Not with selection last."""
    stop_epoch: int | None = None
    """End the run after this epoch of the schedule, which still counts all its epochs; None is its last."""

    @property
    def last_epoch(self) -> int:
        """The epoch after which the run ends."""
        return self.epochs if self.stop_epoch is None else self.stop_epoch

    def errors(self) -> Iterator[str]:
        if self.epochs < 1:
            yield f"schedule.epochs: expected at least 1, found {self.epochs}"
        if not 0 <= self.warmup_epochs < max(self.epochs, 1):
            yield f"schedule.warmup_epochs: expected 0 to epochs - 1, found {self.warmup_epochs}"
        if self.step_epochs < 1:
            yield f"schedule.step_epochs: expected at least 1, found {self.step_epochs}"
        if not 0.0 < self.step_factor <= 1.0:
            yield f"schedule.step_factor: expected a share in (0, 1], found {self.step_factor}"
        if self.patience is not None and self.patience < 1:
            yield f"schedule.patience: expected at least 1 epoch, found {self.patience}"
        if self.stop_epoch is not None and not 1 <= self.stop_epoch <= max(self.epochs, 1):
            yield f"schedule.stop_epoch: expected 1 to epochs = {self.epochs}, found {self.stop_epoch}"
