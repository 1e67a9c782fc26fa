"""Configuration of a run: frozen dataclasses, validated at once, with every fault reported.

A field path, such as ``neuron.tau`` or ``batch_size``, names a field on the command line, in a search space
and as a column of a table. DESIGN: presets are values of `RunConfig`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from preprocess.binning import Binning
from preprocess.errors import ConfigError
from preprocess.splits import title_of_split

Selection = Literal["validation", "paper", "last"]

# What says where and how fast a run runs, never what it computes: left out of the fingerprint.
# neuron.timesteps follows from the binning.
PLACE_FIELDS = frozenset({"device", "threads", "neuron.backend", "neuron.timesteps", "input.source"})


@dataclass(frozen=True)
class DatasetConfig:
    """Which cache, and which of its samples train, select and test."""

    name: str = "n-mnist"
    """Name of the cache folder, such as n-mnist or dvs-gesture."""
    split: Literal[
        "official", "first-900-train", "first-100-test", "random-0.9", "by-group", "split-in-time"
    ] = "official"
    """Which samples are test samples; `official` needs a data set that has an official split."""
    validation_fraction: float = 0.1
    """Share of the training samples held out for selection; whole groups where the data set has groups."""
    augmentation: Literal["none", "time-jitter", "spatial-jitter", "drop-events"] = "none"
    """Changes the events of training samples anew each epoch, as `pipeline.augmentation` has it; needs input.source
    events."""

    @property
    def split_title(self) -> str:
        """The split for people; it says so where training and test share recordings."""
        return title_of_split(self.split)

    def faults(self) -> Iterator[str]:
        if not self.name or "/" in self.name:
            yield f"dataset.name: expected a cache name such as n-mnist, found '{self.name}'"
        if not 0.0 < self.validation_fraction < 1.0:
            yield f"dataset.validation_fraction: expected a share in (0, 1), found {self.validation_fraction}"


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

    def faults(self) -> Iterator[str]:
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

    def faults(self) -> Iterator[str]:
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
    surrogate: Literal["rect", "triangle", "sigmoid", "atan"] = "rect"
    alpha: float = 1.0
    """SpikingJelly's alpha: the rectangle is alpha * 1[|x| < 0.5 / alpha]."""
    v_threshold: float = 1.0
    backend: Literal["auto", "fused", "torch"] = "auto"
    timesteps: int | None = None
    """T, for neurons with weights for each time step (glif, psn); the network fills it in from the frames."""

    def faults(self) -> Iterator[str]:
        if not 1.0 < self.tau < math.inf:
            yield f"neuron.tau: expected more than 1 time step, found {self.tau}"
        if not 0 < self.alpha < math.inf:
            yield f"neuron.alpha: expected more than 0, found {self.alpha}"
        if not 0 < self.v_threshold < math.inf:
            yield f"neuron.v_threshold: expected more than 0, found {self.v_threshold}"
        if self.timesteps is not None and self.timesteps < 1:
            yield f"neuron.timesteps: expected at least 1, found {self.timesteps}"


@dataclass(frozen=True)
class LossConfig:
    """(1 - mse_weight) * mean CE(o_t, y) + mse_weight * MSE(o_t, target), over time steps and samples."""

    mse_weight: float = 0.05
    """The paper's lambda."""
    mse_target: Literal["constant", "one-hot"] = "constant"
    """constant: 1.0 for every class, a regulariser; one-hot: the label."""
    label_smoothing: float = 0.0

    def faults(self) -> Iterator[str]:
        for name in ("mse_weight", "label_smoothing"):
            if not 0.0 <= getattr(self, name) < 1.0:
                yield f"loss.{name}: expected a share in [0, 1), found {getattr(self, name)}"


@dataclass(frozen=True)
class OptimiserConfig:
    """How weights follow gradients."""

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def faults(self) -> Iterator[str]:
        if not 0 < self.learning_rate < math.inf:
            yield f"optimiser.learning_rate: expected more than 0, found {self.learning_rate}"
        if not 0.0 <= self.momentum < 1.0:
            yield f"optimiser.momentum: expected a share in [0, 1), found {self.momentum}"
        if not 0 <= self.weight_decay < math.inf:
            yield f"optimiser.weight_decay: expected at least 0, found {self.weight_decay}"


@dataclass(frozen=True)
class ScheduleConfig:
    """How long to train and how the learning rate falls."""

    name: Literal["cosine", "constant"] = "cosine"
    """cosine: from the learning rate to 0 over all epochs."""
    epochs: int = 300
    warmup_epochs: int = 0

    def faults(self) -> Iterator[str]:
        if self.epochs < 1:
            yield f"schedule.epochs: expected at least 1, found {self.epochs}"
        if not 0 <= self.warmup_epochs < max(self.epochs, 1):
            yield f"schedule.warmup_epochs: expected 0 to epochs - 1, found {self.warmup_epochs}"


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes.

    Raises:
        ConfigError: With every fault of every part, a line each.
    """

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    binning: Binning = field(default_factory=Binning)
    input: InputConfig = field(default_factory=InputConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    neuron: NeuronConfig = field(default_factory=NeuronConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    batch_size: int = 16
    grad_steps: int | None = None
    """k: gradient through the outputs of the first k time steps only; None is all T."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: str = "auto"
    """auto: CUDA where there is a device, else cpu."""
    threads: int | None = None
    """CPU threads; None is the machine's share of this process."""
    seed: int = 2022
    selection: Selection = "validation"
    """validation: best epoch on held-out training samples; paper: best test accuracy; last: the last epoch."""

    def __post_init__(self) -> None:
        faults = list(self.faults())
        if faults:
            raise ConfigError(*faults)

    def faults(self) -> Iterator[str]:
        """Every fault of every part, a line each."""
        for part in dataclasses.fields(self):
            faults = getattr(getattr(self, part.name), "faults", None)
            if faults is not None:
                yield from faults()
        if self.batch_size < 1:
            yield f"batch_size: expected at least 1, found {self.batch_size}"
        yield from self._augmentation_faults()
        if self.grad_steps is not None:
            yield from self._grad_steps_faults(self.grad_steps)
        if self.threads is not None and self.threads < 1:
            yield f"threads: expected at least 1, found {self.threads}"
        if self.seed < 0:
            yield f"seed: expected at least 0, found {self.seed}"

    def _grad_steps_faults(self, steps: int) -> Iterator[str]:
        if self.binning.varies and steps < 1:
            yield f"grad_steps: expected at least 1, found {steps}"
        elif not self.binning.varies and not 1 <= steps <= self.binning.timesteps:
            yield f"grad_steps: expected 1 to binning.timesteps = {self.binning.timesteps}, found {steps}"

    def _augmentation_faults(self) -> Iterator[str]:
        if self.dataset.augmentation == "none":
            return
        if self.input.source != "events":
            found = f"input.source {self.input.source} with augmentation {self.dataset.augmentation}"
            yield f"dataset.augmentation: expected input.source events, found {found}"
        if self.binning.varies:
            yield f"dataset.augmentation: expected a binning.split_by of fixed T, found {self.binning.split_by}"


def field_paths(config_type: type = RunConfig, prefix: str = "") -> dict[str, Any]:
    """Every field path with its type, such as ``{"neuron.tau": float, "batch_size": int}``."""
    paths: dict[str, Any] = {}
    hints = _type_hints(config_type)
    for part in dataclasses.fields(config_type):
        hint = hints[part.name]
        if dataclasses.is_dataclass(hint):
            paths |= field_paths(hint, f"{prefix}{part.name}.")  # type: ignore[arg-type]
        else:
            paths[f"{prefix}{part.name}"] = hint
    return paths


@functools.cache
def _type_hints(config_type: type) -> dict[str, Any]:
    """Evaluating the hints is most of what a configuration costs, and a search makes thousands."""
    return typing.get_type_hints(config_type)


def flatten(config: RunConfig) -> dict[str, Any]:
    """Field path to value."""
    flat: dict[str, Any] = {}
    for path in field_paths():
        value: Any = config
        for name in path.split("."):
            value = getattr(value, name)
        flat[path] = value
    return flat


def override(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A copy with the fields at these paths replaced.

    Raises:
        ConfigError: With every unknown path, every value of another type, and every value out of range.
    """
    paths = field_paths()
    flat = flatten(config)
    faults = []
    for path, value in changes.items():
        if path not in paths:
            near = difflib.get_close_matches(path, paths, n=1)
            hint = f"did you mean '{near[0]}'" if near else "the field paths are in: spikeloom train --help"
            faults.append(f"{path}: no such field; {hint}")
            continue
        typed, fits = _typed(value, paths[path])
        if not fits:
            faults.append(f"{path}: expected {_describe(paths[path])}, found {value!r}")
            continue
        flat[path] = typed
    if faults:
        # A change that fits may still be out of range: both kinds are reported in one go.
        faults += _range_faults(flat)
        raise ConfigError(*faults)
    return _unflatten(flat)


def _range_faults(flat: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        _unflatten(flat)
    except ConfigError as error:
        return error.faults
    return ()


def _unflatten(flat: Mapping[str, Any]) -> RunConfig:
    hints = _type_hints(RunConfig)
    parts: dict[str, Any] = {}
    for part in dataclasses.fields(RunConfig):
        hint = hints[part.name]
        if dataclasses.is_dataclass(hint):
            names = [inner.name for inner in dataclasses.fields(hint)]
            parts[part.name] = hint(**{name: flat[f"{part.name}.{name}"] for name in names})  # type: ignore[operator]
        else:
            parts[part.name] = flat[part.name]
    return RunConfig(**parts)


def _typed(value: Any, hint: Any) -> tuple[Any, bool]:
    """The value as the hint's type, and whether it is one; an int is a float, a bool is no int."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        return value, value in typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in typing.get_args(hint):
            typed, fits = _typed(value, option)
            if fits:
                return typed, True
        return value, False
    if hint is type(None):
        return value, value is None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value), True
    if isinstance(value, bool) and hint is not bool:
        return value, False
    return value, isinstance(value, hint)


def _describe(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in typing.get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(option) for option in typing.get_args(hint))
    if hint is type(None):
        return "null"
    return {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}.get(hint, str(hint))


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Nested plain values, as `config.json` holds them."""
    return dataclasses.asdict(config)


def from_dict(nested: Mapping[str, Any], base: RunConfig | None = None) -> RunConfig:
    """The inverse of `to_dict`; fields that are not given keep the base's values (default: the defaults).

    Raises:
        ConfigError: As `override` does.
    """
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": content for inner, content in value.items()}
        else:
            flat[name] = value
    return override(base or RunConfig(), flat)


def load_config(path: Path) -> RunConfig:
    """Read a configuration from a JSON file: a run's `config.json` or a search's `best.json`.

    Raises:
        ConfigError: If the file is missing, is not JSON, or holds a faulty configuration.
    """
    try:
        nested = json.loads(path.read_text())
    except FileNotFoundError:
        fits = "a run's config.json or a search's best.json fits"
        raise ConfigError(f"{path}: no such configuration file; {fits}") from None
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: expected a JSON configuration, but {error}") from None
    # best.json holds the configuration beside what the search says of it.
    nested = nested.get("config", nested) if isinstance(nested, dict) else nested
    if not isinstance(nested, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {type(nested).__name__}")
    return from_dict(nested)


def fingerprint(config: RunConfig) -> str:
    """Twelve hexadecimal digits that are equal exactly where two runs compute the same thing."""
    # Fields that the binning's rule does not read compute nothing.
    plain = replace(config, binning=config.binning.plain())
    flat = {path: value for path, value in flatten(plain).items() if path not in PLACE_FIELDS}
    text = json.dumps(flat, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
