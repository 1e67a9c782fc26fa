"""Configuration of a run: frozen dataclasses that validate themselves and report all errors together.

A field path, such as ``neuron.tau`` or ``batch_size``, names a field on the command line, in a search space
and as a column of a table. `pipeline.config.sections` has the sections, with the defaults of their fields; those of
`batch_size`, `seed` and others of no section are here. DESIGN: presets are values of `RunConfig`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import operator
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.config.augmentation_names import (
    EVENT_AUGMENTATIONS,
    augmentation_errors,
    kind_errors,
    parse_augmentation,
)
from pipeline.config.inactive_fields import inactive_fields, redundant_fields
from pipeline.config.nearest_field import nearest_field
from pipeline.config.neurons import traits_of
from pipeline.config.sections.dataset_config import DatasetConfig as DatasetConfig
from pipeline.config.sections.input_config import InputConfig as InputConfig
from pipeline.config.sections.input_config import TimeOrder as TimeOrder
from pipeline.config.sections.loss_config import LossConfig as LossConfig
from pipeline.config.sections.network_config import NetworkConfig as NetworkConfig
from pipeline.config.sections.neuron_config import NeuronConfig as NeuronConfig
from pipeline.config.sections.optimiser_config import OptimiserConfig as OptimiserConfig
from pipeline.config.sections.schedule_config import ScheduleConfig as ScheduleConfig
from pipeline.config.surrogates import accept_stored
from preprocess.binning.binning_config import Binning
from preprocess.errors import ConfigError

Selection = Literal["validation", "paper", "last"]

# Where and how fast a run computes, but not what: left out of the fingerprint. neuron.timesteps is set by the binning.
PLACE_FIELDS = frozenset(
    {"device", "threads", "compile", "deterministic", "neuron.backend", "neuron.timesteps", "input.source"}
)

_MOST_THREADS = 1024
_LARGEST_FLOAT = 1 << 1023
# PyTorch's generators accept signed 64-bit seeds.
_SEEDS = 1 << 63


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes.

    Raises:
        ConfigError: With a line for every error of every section.
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
    """Number of samples per optimiser step."""
    keep_last: bool = False
    """Also train on the last batch of an epoch if it has fewer than batch_size samples; otherwise it is left out."""
    micro_batch: int | None = None
    """Micro-batch size for gradient accumulation. Use it when a full batch does not fit in memory. Batch-norm
    statistics are computed per micro-batch (default: no accumulation)."""
    grad_steps: int | None = None
    """Compute gradients from the outputs of the first k time steps only (default: all T)."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of convolutions and linear layers; the state of neurons is always float32. auto: fp32 on the CPU; on
    CUDA bf16 if the device supports it, else fp16."""
    compile: bool = False
    """Compile the layers between the neurons with torch.compile; the first step takes about a minute longer."""
    deterministic: bool = False
    """Use only deterministic algorithms, which may be slower on CUDA. The CPU is always deterministic."""
    device: str = "auto"
    """Device to compute on, such as cpu, cuda or cuda:1. auto: CUDA if available, else the CPU."""
    threads: int | None = None
    """Number of CPU threads (default: all CPUs of this process)."""
    seed: int = 2022
    """Random seed of initial weights, shuffling, dropout and augmentation."""
    start_from: str | None = None
    """Start from the last checkpoint of another run, with its weights, optimiser state and epoch count: a run folder,
    or the name of one next to this run's."""
    selection: Selection = "validation"
    """Which epoch's weights are kept. validation: the best on held-out training samples. paper: the best on the test
    split, as in the paper. last: the last epoch."""

    def __post_init__(self) -> None:
        errors = list(self.errors())
        if errors:
            raise ConfigError(*errors)

    def batches_per_epoch(self, samples: int) -> int:
        """The number of batches in an epoch of `samples` training samples."""
        full, rest = divmod(samples, self.batch_size)
        return full + (self.keep_last and rest > 0)

    def errors(self) -> Iterator[str]:
        """A line for every error of every section."""
        for part in dataclasses.fields(self):
            errors = getattr(getattr(self, part.name), "errors", None)
            if errors is not None:
                yield from errors()
        if self.batch_size < 1:
            yield f"batch_size: expected at least 1, found {self.batch_size}"
        if self.micro_batch is not None and not 1 <= self.micro_batch <= max(self.batch_size, 1):
            yield f"micro_batch: expected 1 to batch_size = {self.batch_size}, found {self.micro_batch}"
        yield from self._augmentation_errors()
        if self.input.static:
            yield from self._static_errors()
        lowest, highest = self.schedule.min_learning_rate, self.optimiser.learning_rate
        if lowest > highest > 0:
            yield f"schedule.min_learning_rate: expected 0 to optimiser.learning_rate = {highest:g}, found {lowest:g}"
        if self.schedule.patience is not None and self.selection == "last":
            yield "schedule.patience: expected selection validation or paper, which measure accuracy, found last"
        if self.grad_steps is not None:
            yield from self._grad_steps_errors(self.grad_steps)
        if self.loss.last_steps is not None:
            yield from self._last_steps_errors(self.loss.last_steps)
        if self.threads is not None and not 1 <= self.threads <= _MOST_THREADS:
            yield f"threads: expected 1 to {_MOST_THREADS}, found {self.threads}"
        if not 0 <= self.seed < _SEEDS:
            yield f"seed: expected 0 to {_SEEDS - 1}, found {self.seed}"

    def _grad_steps_errors(self, steps: int) -> Iterator[str]:
        if self.binning.varies and steps < 1:
            yield f"grad_steps: expected at least 1, found {steps}"
        elif traits_of(self.neuron.name).fixed_timesteps and steps != self.binning.timesteps:
            found = f"found {steps} of T = {self.binning.timesteps}"
            expected = f"all steps, because '{self.neuron.name}' has weights for each of them"
            yield f"grad_steps: expected {expected}, {found}"
        elif not self.binning.varies and not 1 <= steps <= self.binning.timesteps:
            yield f"grad_steps: expected 1 to binning.timesteps = {self.binning.timesteps}, found {steps}"

    def _last_steps_errors(self, steps: int) -> Iterator[str]:
        binning = self.binning
        if not binning.varies and steps > binning.timesteps:
            yield f"loss.last_steps: expected 1 to binning.timesteps = {binning.timesteps}, found {steps}"
        if self.grad_steps is not None and (binning.varies or self.grad_steps != binning.timesteps):
            found = f"found grad_steps {self.grad_steps}, which uses only the first outputs"
            yield f"loss.last_steps: expected no grad_steps together with it, {found}. Set only one of them"

    def _static_errors(self) -> Iterator[str]:
        """Images are repeated at binning.timesteps time steps; the rules that bin events have no meaning for them."""
        if self.binning.split_by != "number":
            expected = "number with input.encoding direct, whose images are the same at binning.timesteps time steps"
            yield f"binning.split_by: expected {expected}, found {self.binning.split_by}"
        if self.binning.downsample != 1:
            found = f"found {self.binning.downsample}. Use input.size"
            yield f"binning.downsample: expected 1 with input.encoding direct, which is for images, {found}"

    def _augmentation_errors(self) -> Iterator[str]:
        text = self.dataset.augmentation
        if any(augmentation_errors(text)):
            return
        wrong = list(kind_errors(text, images=self.input.static))
        yield from wrong
        if wrong or not set(parse_augmentation(text)) & set(EVENT_AUGMENTATIONS):
            return
        if self.input.source != "events":
            found = f"input.source {self.input.source} with augmentation {text}"
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
    """The evaluated type hints, cached: a search makes thousands of configurations."""
    return typing.get_type_hints(config_type)


def flatten(config: RunConfig) -> dict[str, Any]:
    """Field path to value."""
    paths = _run_paths()
    return dict(zip(paths, operator.attrgetter(*paths)(config), strict=True))


@functools.cache
def _run_paths() -> Mapping[str, Any]:
    """`field_paths` of a run, computed once."""
    return types.MappingProxyType(field_paths())


def override(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """Return a copy of a configuration with some fields replaced.

    Args:
        config: The configuration, which does not change.
        changes: New values by field path, such as ``{"neuron.tau": 2.0, "batch_size": 16}``.

    Raises:
        ConfigError: With every unknown path, every value of another type, and every value out of range.
    """
    paths = _run_paths()
    flat = flatten(config)
    errors = []
    for path, value in changes.items():
        if path not in paths:
            near = nearest_field(path, paths)
            hint = f"Did you mean '{near}'?" if near else "List all fields: spikeloom train --help-all"
            errors.append(f"{path}: expected a field of the configuration, found none of this name. {hint}")
            continue
        typed, fits = typed_value(value, paths[path])
        if not fits:
            errors.append(f"{path}: expected {describe_type(paths[path])}, found {value!r:.80}")
            continue
        flat[path] = typed
    if errors:
        # A change of the right type may still be out of range: both kinds are reported together.
        errors += _range_errors(flat)
        raise ConfigError(*errors)
    return _unflatten(flat)


def _range_errors(flat: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        _unflatten(flat)
    except ConfigError as error:
        return error.errors
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


def typed_value(value: Any, hint: Any) -> tuple[Any, bool]:
    """The value converted to the hint's type, and whether it fits; an int is also a float, a bool is not an int."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        return value, value in typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in typing.get_args(hint):
            typed, fits = typed_value(value, option)
            if fits:
                return typed, True
        return value, False
    if hint is type(None):
        return value, value is None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        # There is no float of a very long integer.
        return (float(value), True) if abs(value) < _LARGEST_FLOAT else (value, False)
    if isinstance(value, bool) and hint is not bool:
        return value, False
    return value, isinstance(value, hint)


def describe_type(hint: Any) -> str:
    """The type of a field as an error message names it, such as "a whole number or null"."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in typing.get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe_type(option) for option in typing.get_args(hint))
    if hint is type(None):
        return "null"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(hint, str(hint))


def to_dict(config: RunConfig) -> dict[str, Any]:
    """The configuration as nested plain values, as in `config.json`."""
    return dataclasses.asdict(config)


def from_dict(nested: Mapping[str, Any], base: RunConfig | None = None) -> RunConfig:
    """The inverse of `to_dict`; fields that are not given keep the base's values (default: the defaults).

    Any name of a surrogate is accepted, because another program may have registered it.

    Raises:
        ConfigError: As `override` does.
    """
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": content for inner, content in value.items()}
        else:
            flat[name] = value
    if isinstance(surrogate := flat.get("neuron.surrogate"), str):
        accept_stored(surrogate)
    return override(base or RunConfig(), flat)


def load_config(path: Path) -> RunConfig:
    """Read a configuration from a JSON file: a run's `config.json` or a search's `best.json`.

    Raises:
        ConfigError: If the file is missing, is not JSON, or contains an invalid configuration.
    """
    try:
        nested = json.loads(path.read_text())
    except FileNotFoundError:
        accepted = "a run's config.json or a search's best.json"
        raise ConfigError(f"{path}: expected {accepted}, found no such file. Check the path.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"{path}: expected a configuration in JSON, found: {error}. Check the file.") from None
    if isinstance(nested, dict) and "config" in nested and "trials" in nested:
        raise ConfigError(
            f"{path}: expected a run's config.json or a search's best.json, found the plan of a search. Give the "
            "best.json of its folder."
        )
    # best.json has the configuration next to the results of the search.
    nested = nested.get("config", nested) if isinstance(nested, dict) else nested
    if not isinstance(nested, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {type(nested).__name__}")
    return from_dict(nested)


def fingerprint(config: RunConfig) -> str:
    """Twelve hexadecimal digits that are equal exactly if two runs compute the same result.

    Only fields that are not at their defaults count, so that new fields of later versions do not change it.
    """
    plain, defaults = flatten(config), flatten(RunConfig())
    # Augmentations are applied in a fixed order, whatever the order of their names.
    plain["dataset.augmentation"] = "+".join(sorted(parse_augmentation(config.dataset.augmentation))) or "none"
    plain |= {path: defaults[path] for path in (*inactive_fields(plain), *dict(redundant_fields(plain)))}
    changed = {path: value for path, value in plain.items() if path not in PLACE_FIELDS and value != defaults[path]}
    text = json.dumps(changed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
