"""Fields that have no effect for certain values of others: two runs that only differ in them are the same run.

Configurations are given as field paths and values (`pipeline.config.run_config.flatten`) and need not be valid, so that
a search can use this module while it samples. No field is inactive for a custom class, which may use any of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.augmentation_names import parse_augmentation
from pipeline.config.networks import network_traits
from pipeline.config.neurons import NeuronTraits, traits_of
from preprocess.binning.binning_config import Binning
from preprocess.binning.frame_ranges import SplitBy

Values = Mapping[str, Any]
"""Field path to value, for every field."""


@dataclass(frozen=True)
class _Rule:
    """When a field has no effect.

    Attributes:
        governors: The fields that it depends on.
        inactive: Whether the field has no effect for the values of a configuration.
    """

    governors: tuple[str, ...]
    inactive: Callable[[Values], bool]


def _unless_neuron(has_effect: Callable[[NeuronTraits], bool]) -> _Rule:
    return _Rule(("neuron.name",), lambda values: not has_effect(traits_of(values["neuron.name"])))


def _unless_split_by(name: str) -> _Rule:
    return _Rule(("binning.split_by",), lambda values: name not in _read_by(values["binning.split_by"]))


@functools.cache
def _read_by(split_by: SplitBy) -> frozenset[str]:
    return frozenset(Binning(split_by=split_by).to_attributes())


def _varies(values: Values) -> bool:
    """Whether samples differ in T."""
    return "timesteps" not in _read_by(values["binning.split_by"])


def _all_steps_count(values: Values) -> bool:
    """Whether the loss is over all time steps."""
    whole = (None,) if _varies(values) else (None, values["binning.timesteps"])
    return values["grad_steps"] in whole and values["loss.last_steps"] in whole


def _is_whole_window(values: Values) -> bool:
    """Whether gradients flow back through all time steps."""
    window = values["neuron.temporal_window"]
    return window is None or (not _varies(values) and window >= values["binning.timesteps"] - 1)


_STEPPED = _Rule(("schedule.name",), lambda values: values["schedule.name"] != "step")
_COSINE = _Rule(("schedule.name",), lambda values: values["schedule.name"] != "cosine")

_OF_T = ("binning.timesteps", "binning.split_by")

_RULES: dict[str, _Rule] = {
    "network.head": _Rule(("network.name",), lambda values: not network_traits(values["network.name"]).has_head),
    "neuron.tau": _unless_neuron(lambda traits: traits.has_tau),
    "neuron.v_threshold": _unless_neuron(lambda traits: traits.has_threshold),
    "neuron.surrogate": _unless_neuron(lambda traits: traits.has_surrogate),
    "neuron.alpha": _unless_neuron(lambda traits: traits.has_surrogate),
    # Without a past, both cuts are the same.
    "neuron.truncation": _Rule(
        ("neuron.temporal_window", *_OF_T),
        lambda values: values["neuron.temporal_window"] == 0 or _is_whole_window(values),
    ),
    "network.dropout_mask": _Rule(("network.dropout",), lambda values: values["network.dropout"] == 0),
    "loss.average_over": _Rule(
        ("loss.readout", "grad_steps", "loss.last_steps", *_OF_T),
        lambda values: values["loss.readout"] == "mean" or _all_steps_count(values),
    ),
    "optimiser.momentum": _Rule(("optimiser.name",), lambda values: values["optimiser.name"] != "sgd"),
    "optimiser.weight_decay_of": _Rule(
        ("optimiser.weight_decay",), lambda values: values["optimiser.weight_decay"] == 0
    ),
    "schedule.warmup_learning_rate": _Rule(
        ("schedule.warmup_epochs",), lambda values: values["schedule.warmup_epochs"] == 0
    ),
    "schedule.cosine_from": _Rule(
        ("schedule.name", "schedule.warmup_epochs"),
        lambda values: values["schedule.name"] != "cosine" or values["schedule.warmup_epochs"] == 0,
    ),
    "schedule.min_learning_rate": _COSINE,
    "schedule.cooldown_epochs": _COSINE,
    "schedule.step_epochs": _STEPPED,
    "schedule.step_factor": _STEPPED,
    "loss.mse_target": _Rule(("loss.mse_weight",), lambda values: values["loss.mse_weight"] == 0),
    "loss.label_smoothing": _Rule(("loss.mse_weight",), lambda values: values["loss.mse_weight"] == 1),
    # Pillow has its own interpolation.
    "input.resize": _Rule(
        ("input.size", "input.encoding"),
        lambda values: values["input.size"] is None or values["input.encoding"] == "pil-la",
    ),
    "dataset.mixup_alpha": _Rule(
        ("dataset.augmentation",), lambda values: "mixup" not in parse_augmentation(values["dataset.augmentation"])
    ),
    "dataset.mixing_epochs": _Rule(
        ("dataset.augmentation",),
        lambda values: not {"mixup", "cutmix"} & set(parse_augmentation(values["dataset.augmentation"])),
    ),
    # Otherwise all training samples are used for training.
    "dataset.validation_fraction": _Rule(("selection",), lambda values: values["selection"] != "validation"),
    **{
        f"binning.{name}": _unless_split_by(name)
        for name in ("timesteps", "duration_us", "event_count", "overlap", "include_incomplete", "start_us")
    },
}


def is_inactive(path: str, values: Values) -> bool:
    """Whether a field has no effect with the values of the others, whatever its own value."""
    return path in _RULES and _RULES[path].inactive(values)


def inactive_fields(values: Values) -> Iterator[str]:
    """Iterate over the paths of all inactive fields; see `is_inactive`."""
    return (path for path in _RULES if is_inactive(path, values))


def governors_of(path: str) -> tuple[str, ...]:
    """Return the paths of the fields that determine whether a field has an effect."""
    return _RULES[path].governors if path in _RULES else ()


_WHOLES: dict[str, str] = {
    "grad_steps": "binning.timesteps",
    "loss.last_steps": "binning.timesteps",
    "neuron.temporal_window": "binning.timesteps",
    "micro_batch": "batch_size",
    "schedule.stop_epoch": "schedule.epochs",
}
"""Fields that limit something, and the fields that say how much of it there is."""


def redundant_fields(values: Values) -> Iterator[tuple[str, str]]:
    """Iterate over fields whose value is equivalent to None, such as `grad_steps` equal to T.

    Unlike inactive fields, they have an effect with other values.

    Returns:
        The path of each field, and that of the field to whose value it adds nothing.
    """
    for path, whole in _WHOLES.items():
        if values[path] is None or (whole == "binning.timesteps" and _varies(values)):
            continue
        if _is_whole_window(values) if path == "neuron.temporal_window" else values[path] == values[whole]:
            yield path, whole
