"""The sections of a run's configuration: frozen dataclasses, each of which lists its own errors.

DESIGN: a field path is ``<section>.<field>``. `pipeline.config.run_config.RunConfig` puts the sections together and
has the fields of no section, such as `batch_size` and `micro_batch`. The string below a field is its help on the
command line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.config.augmentation_names import augmentation_errors
from pipeline.config.neurons import NEURONS, traits_of
from pipeline.config.surrogates import surrogate_errors
from preprocess.datasets.splits import Resampling, SplitName, title_of_split

TimeOrder = Literal["as-is", "shuffled", "reversed", "one-frame"]


@dataclass(frozen=True)
class DatasetConfig:
    """Which data set is used, and how it is split and augmented."""

    name: str = "n-mnist"
    """Data set: the name of its folder in the cache, such as n-mnist or dvs-gesture."""
    split: SplitName = "official"
    """How test samples are chosen. official: the split that comes with the data set. random-0.9: a random tenth of each
    class. by-group: a fifth, in whole recordings or subjects. leave-groups-out: one of dataset.folds parts, in whole
    recordings or subjects, whatever the official split. split-in-time: the last fifth of every recording.
    first-900-train and first-100-test: by the number of a sample within its class."""
    fold: int = 0
    """The part of the recordings or subjects that is tested with split leave-groups-out: 0 to dataset.folds - 1."""
    folds: int = 5
    """Number of parts of leave-groups-out. Over all folds, each recording or subject is tested exactly once."""
    split_seed: int = 0
    """Draws other test samples with split random-0.9 or by-group, and divides groups into other folds with
    leave-groups-out. Independent of seed."""
    validation_fraction: float = 0.1
    """Share of the training samples that is held out for validation, in whole groups where the data set has groups."""
    augmentation: str = "none"
    """Augmentation of training samples, redrawn every epoch; join several with +, such as flip+rotation. On frames:
    flip, roll, rotation, shear, crop, cutout, event-drop. On events (needs input.source events): time-jitter,
    spatial-jitter, drop-events. On images: crop, flip, cutout, autoaugment-cifar10, autoaugment-imagenet,
    trivialaugment, randaugment, random-erasing, and mixup and cutmix, which mix the images and labels of a batch."""
    mixup_alpha: float = 0.2
    """Parameter alpha of mixup, whose shares have the distribution Beta(alpha, alpha)."""
    mixing_epochs: int | None = None
    """Number of epochs, from the first, in which mixup and cutmix mix images (default: all)."""

    @property
    def split_title(self) -> str:
        """The name of the split for people, marked where training and test samples share recordings."""
        return title_of_split(self.split, [self.resampling])

    @property
    def resampling(self) -> Resampling:
        """Which of several splits of one kind is used."""
        return Resampling(self.split_seed, self.fold, self.folds)

    def errors(self) -> Iterator[str]:
        if not self.name or "/" in self.name:
            yield f"dataset.name: expected a cache name such as n-mnist, found '{self.name}'"
        if not 0.0 < self.validation_fraction < 1.0:
            yield f"dataset.validation_fraction: expected a share in (0, 1), found {self.validation_fraction}"
        yield from self.resampling.errors(self.split)
        yield from augmentation_errors(self.augmentation)
        if not 0 < self.mixup_alpha < math.inf:
            yield f"dataset.mixup_alpha: expected more than 0, found {self.mixup_alpha}"
        if self.mixing_epochs is not None and self.mixing_epochs < 0:
            yield f"dataset.mixing_epochs: expected at least 0, found {self.mixing_epochs}"


@dataclass(frozen=True)
class InputConfig:
    """How frames are read and what the network sees of them."""

    source: Literal["cache", "events"] = "cache"
    """cache: read frames from a frame cache, which is built if it is missing. events: bin each batch from the event
    store, without a frame cache. Both give identical frames."""
    size: int | None = None
    """Resize frames to this height and width in pixels (default: the size of the frames)."""
    resize: Literal["bilinear", "bilinear-antialias", "nearest"] = "bilinear"
    """Interpolation used by input.size."""
    encoding: Literal["counts", "binary", "pil-la", "direct"] = "counts"
    """counts: number of events per pixel, unscaled. binary: 1 where there is any event. pil-la: as in the CLIF authors'
    CIFAR10-DVS loader. direct: static images, normalised, the same at each of binning.timesteps time steps."""
    polarity: Literal["split", "merged", "on", "off"] = "split"
    """Channels of a frame. split: two, OFF and ON events. merged: one, the events of both. on, off: one, the events of
    one polarity; the others are ignored."""
    time_order: TimeOrder = "as-is"
    """Control experiment on temporal order, applied to training, validation and test samples. shuffled: the time steps
    of each sample in random order, redrawn every training epoch. reversed: backwards. one-frame: only the frame with
    the most events; all others are empty."""

    @property
    def channels(self) -> int:
        """Number of channels of a frame as the network sees it."""
        if self.static:
            return 3
        return 2 if self.polarity == "split" else 1

    @property
    def static(self) -> bool:
        """Whether the input is the same at each time step, as that of images is."""
        return self.encoding == "direct"

    def errors(self) -> Iterator[str]:
        if self.size is not None and self.size < 1:
            yield f"input.size: expected at least 1 pixel, found {self.size}"
        if self.encoding == "pil-la" and self.polarity != "split":
            found = f"found {self.polarity}. Use input.encoding counts or binary"
            yield f"input.polarity: expected split with input.encoding pil-la, whose images have both, {found}"
        if self.static:
            for name in ("source", "polarity", "time_order"):
                value, default = getattr(self, name), getattr(InputConfig, name)
                if value != default:
                    yield f"input.{name}: expected {default} with input.encoding direct, for images, found {value}"


@dataclass(frozen=True)
class NetworkConfig:
    """The network architecture."""

    name: str = "spiking-vgg-small"
    """A built-in network, or your own class: file.py:Class or package.module:Class."""
    width: float = 1.0
    """Factor for the number of channels of every hidden layer; 1 is the width in the paper."""
    dropout: float = 0.0
    """Dropout probability."""
    dropout_mask: Literal["fixed", "per-step"] = "fixed"
    """fixed: each sample has one dropout mask for all time steps. per-step: a new one at each time step."""
    batch_norm: Literal["per-step", "joint"] = "per-step"
    """per-step: batch statistics of each time step separately, as in the paper. joint: of all T * B images together."""
    head: Literal["paper", "gap"] = "paper"
    """paper: adaptive pooling to 7x7, then a linear layer. gap: global average pooling, then a linear layer."""
    linear_weights: Literal["normal", "torch"] = "normal"
    """Initial weights of linear layers in the networks of the CLIF authors. normal: standard deviation 0.01, bias 0,
    as in their Spiking-VGG. torch: PyTorch's own, as in their and PSN's VGGSNN."""

    def errors(self) -> Iterator[str]:
        if not 0 < self.width < math.inf:
            yield f"network.width: expected more than 0, found {self.width}"
        if not 0.0 <= self.dropout < 1.0:
            yield f"network.dropout: expected a share in [0, 1), found {self.dropout}"


@dataclass(frozen=True)
class NeuronConfig:
    """The spiking neuron. The defaults are the CLIF paper's settings for both LIF and CLIF."""

    name: str = "lif"
    """A built-in neuron, such as lif, clif, plif or psn, or your own class: file.py:Class or package.module:Class."""
    tau: float = 2.0
    """Membrane time constant in time steps; greater than 1."""
    surrogate: str = "rect"
    """Surrogate function whose derivative replaces that of the spike in the backward pass: rect, triangle, sigmoid,
    atan, or a registered name."""
    alpha: float = 1.0
    """Sharpness of the surrogate, as in SpikingJelly: rect is alpha where |x| < 0.5 / alpha, else 0."""
    v_threshold: float = 1.0
    """Firing threshold of the membrane potential."""
    reset: Literal["soft", "hard"] = "soft"
    """After a spike: subtract v_threshold from the potential (soft), or set it to 0 (hard; lif, plif, klif and if
    only)."""
    decay_input: bool = False
    """Divide the input by tau (lif, plif and klif only)."""
    detach_reset: bool = False
    """Stop the gradient through the reset (lif, plif, klif and if only)."""
    temporal_window: int | None = None
    """Maximum number of time steps through which gradients flow back inside a neuron (default: no limit). 0: each step
    is trained alone, as in SLTT. Not for plif, klif, if and the neurons without a membrane potential."""
    truncation: Literal["block", "sliding"] = "block"
    """How temporal_window = h cuts gradients. block: between blocks of h + 1 steps. sliding: from step t' to step t if
    t' - t > h, at h + 1 times the work and memory of the neurons."""
    backend: Literal["auto", "fused", "torch"] = "auto"
    """fused: one kernel for all time steps. torch: PyTorch operations. auto: fused where the neuron has it."""
    timesteps: int | None = None
    """T, for neurons with weights for each time step (glif, psn). Not an option: the network takes it from the
    frames."""

    def errors(self) -> Iterator[str]:
        if not 1.0 < self.tau < math.inf:
            yield f"neuron.tau: expected more than 1 time step, found {self.tau}"
        if not 0 < self.alpha < math.inf:
            yield f"neuron.alpha: expected more than 0, found {self.alpha}"
        if not 0 < self.v_threshold < math.inf:
            yield f"neuron.v_threshold: expected more than 0, found {self.v_threshold}"
        if self.timesteps is not None and self.timesteps < 1:
            yield f"neuron.timesteps: expected at least 1, found {self.timesteps}"
        if self.temporal_window is not None and self.temporal_window < 0:
            yield f"neuron.temporal_window: expected at least 0 time steps, found {self.temporal_window}"
        yield from surrogate_errors(self.surrogate)
        yield from self._trait_errors()

    @property
    def title(self) -> str:
        """For tables: the name, and tau where the neuron has one, such as ``lif, tau 2``."""
        parts = [self.name]
        if traits_of(self.name).has_tau:
            parts.append(f"tau {self.tau:g}")
        if self.reset != "soft":
            parts.append(f"{self.reset} reset")
        if self.temporal_window is not None:
            sliding = "sliding " if self.truncation == "sliding" and self.temporal_window else ""
            parts.append(f"{sliding}window {self.temporal_window}")
        return ", ".join(parts)

    def _trait_errors(self) -> Iterator[str]:
        """A line for each of these that the neuron does not accept; every neuron accepts tau and v_threshold."""
        for name in ("reset", "detach_reset", "decay_input", "temporal_window"):
            value, default = getattr(self, name), getattr(NeuronConfig, name)
            if value != default and not traits_of(self.name).accepts(name):
                others = ", ".join(other for other, neuron in NEURONS.items() if neuron.traits.accepts(name))
                yield (
                    f"neuron.{name}: expected {default} for neuron '{self.name}', found {value}. "
                    f"Neurons that accept it: {others}."
                )


@dataclass(frozen=True)
class LossConfig:
    """(1 - mse_weight) * mean CE(o_t, y) + mse_weight * MSE(o_t, target), over time steps and samples.

    With readout mean, o_t is replaced by the mean output over the time steps.
    """

    mse_weight: float = 0.05
    """Weight of the mean squared error, lambda in the paper; cross-entropy has 1 - mse_weight."""
    mse_target: Literal["constant", "one-hot"] = "constant"
    """Target of the mean squared error. constant: 1.0 for every class, a regulariser. one-hot: the label, or the
    mixture of labels with mixup and cutmix."""
    label_smoothing: float = 0.0
    """Label smoothing of the cross-entropy, in [0, 1)."""
    readout: Literal["per-step", "mean"] = "per-step"
    """Output that the loss sees. per-step: that of each time step, and the losses are averaged, as in temporal
    efficient training (TET). mean: the mean output over the time steps, of which there is one loss."""
    last_steps: int | None = None
    """Use only the last K time steps of a sample for the loss and the prediction (default: all T)."""
    average_over: Literal["k", "T"] = "k"
    """What the sum of the losses of single time steps is divided by if only k of T steps count (grad_steps,
    loss.last_steps): their number k, or T, which makes gradients k / T times as large. Only with readout per-step."""

    def errors(self) -> Iterator[str]:
        if not 0.0 <= self.mse_weight <= 1.0:
            yield f"loss.mse_weight: expected a share in [0, 1], found {self.mse_weight}"
        if not 0.0 <= self.label_smoothing < 1.0:
            yield f"loss.label_smoothing: expected a share in [0, 1), found {self.label_smoothing}"
        if self.last_steps is not None and self.last_steps < 1:
            yield f"loss.last_steps: expected at least 1, found {self.last_steps}"


@dataclass(frozen=True)
class OptimiserConfig:
    """The optimiser."""

    name: Literal["sgd", "adamw", "lamb"] = "sgd"
    """Optimisation algorithm."""
    learning_rate: float = 0.1
    """Initial learning rate."""
    momentum: float = 0.9
    """Momentum of sgd."""
    weight_decay: float = 5e-4
    """Weight decay: L2 regularisation for sgd, decoupled for adamw, part of the update that lamb scales."""
    weight_decay_of: Literal["all", "weights"] = "all"
    """Parameters with weight decay. all: as in the CLIF authors' code. weights: not biases, batch norm and other
    parameters of one dimension, as in timm. lamb does not scale the step of what has no weight decay."""
    clip_norm: float | None = None
    """Clip the global gradient norm to this value (default: no clipping)."""
    ema_decay: float | None = None
    """Evaluate and save an exponential moving average of the weights with this decay per optimiser step; 0.99 averages
    over about 100 steps (default: no averaging)."""

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
    """The number of epochs and the learning-rate schedule."""

    name: Literal["cosine", "step", "constant"] = "cosine"
    """cosine: decay to min_learning_rate. step: multiply by step_factor every step_epochs. constant: no decay."""
    epochs: int = 300
    """Number of training epochs."""
    warmup_epochs: int = 0
    """Number of epochs of linear warm-up at the beginning."""
    warmup_learning_rate: float | None = None
    """Learning rate of the first warm-up epoch (default: learning_rate / (warmup_epochs + 1))."""
    cosine_from: Literal["warmup", "start"] = "warmup"
    """First epoch of the cosine. warmup: the one after the warm-up, which has the full learning rate. start: the first
    of the run, so that the warm-up replaces a part of the cosine, as in timm."""
    min_learning_rate: float = 0.0
    """Learning rate to which the cosine decays."""
    cooldown_epochs: int = 0
    """How many of the epochs, at the end, have min_learning_rate; the cosine decays over the others."""
    step_epochs: int = 100
    """Epochs between the steps of the step schedule."""
    step_factor: float = 0.1
    """Factor of the step schedule."""
    patience: int | None = None
    """Early stopping: stop after this many epochs without a better one (default: off). Not with selection last."""
    stop_epoch: int | None = None
    """Stop after this epoch, with the schedule still computed for all epochs (default: the last epoch)."""

    @property
    def last_epoch(self) -> int:
        """The epoch after which the run ends."""
        return self.epochs if self.stop_epoch is None else self.stop_epoch

    def errors(self) -> Iterator[str]:
        if self.epochs < 1:
            yield f"schedule.epochs: expected at least 1, found {self.epochs}"
        if not 0 <= self.warmup_epochs < max(self.epochs, 1):
            yield f"schedule.warmup_epochs: expected 0 to epochs - 1, found {self.warmup_epochs}"
        elif not 0 <= self.cooldown_epochs < max(self.epochs, 1) - self.warmup_epochs:
            most = "epochs - warmup_epochs - 1"
            yield f"schedule.cooldown_epochs: expected 0 to {most}, found {self.cooldown_epochs}"
        for name in ("warmup_learning_rate", "min_learning_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate < math.inf:
                yield f"schedule.{name}: expected at least 0, found {rate}"
        if self.step_epochs < 1:
            yield f"schedule.step_epochs: expected at least 1, found {self.step_epochs}"
        if not 0.0 < self.step_factor <= 1.0:
            yield f"schedule.step_factor: expected a share in (0, 1], found {self.step_factor}"
        if self.patience is not None and self.patience < 1:
            yield f"schedule.patience: expected at least 1 epoch, found {self.patience}"
        if self.stop_epoch is not None and not 1 <= self.stop_epoch <= max(self.epochs, 1):
            yield f"schedule.stop_epoch: expected 1 to epochs = {self.epochs}, found {self.stop_epoch}"
