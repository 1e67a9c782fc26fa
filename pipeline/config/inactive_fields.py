"""Fields that compute nothing beside certain others: two runs that differ in them alone are one and the same.

A configuration is read here as its field paths and values (`pipeline.config.run_config.flatten`), whether or not it is
valid, so that a search can ask while it draws a point. A class from outside may read anything, so it idles no field.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.neuron_traits import NeuronTraits, traits_of
from preprocess.binning.binning import Binning, SplitBy

Values = Mapping[str, Any]
"""Field path to value, of every field."""


@dataclass(frozen=True)
class _Rule:
    """When a field has no effect.

    Attributes:
        governors: The fields that decide it.
        idle: Whether it has none beside these values.
    """

    governors: tuple[str, ...]
    idle: Callable[[Values], bool]


def _unless_neuron(has_effect: Callable[[NeuronTraits], bool]) -> _Rule:
    return _Rule(("neuron.name",), lambda values: not has_effect(traits_of(values["neuron.name"])))


def _unless_split_by(name: str) -> _Rule:
    return _Rule(("binning.split_by",), lambda values: name not in _read_by(values["binning.split_by"]))


@functools.cache
def _read_by(split_by: SplitBy) -> frozenset[str]:
    return frozenset(Binning(split_by=split_by).to_attributes())


_STEPPED = _Rule(("schedule.name",), lambda values: values["schedule.name"] != "step")

_RULES: dict[str, _Rule] = {
    "neuron.tau": _unless_neuron(lambda traits: traits.has_tau),
    "neuron.v_threshold": _unless_neuron(lambda traits: traits.has_threshold),
    "neuron.surrogate": _unless_neuron(lambda traits: traits.has_surrogate),
    "neuron.alpha": _unless_neuron(lambda traits: traits.has_surrogate),
    "optimiser.momentum": _Rule(("optimiser.name",), lambda values: values["optimiser.name"] == "adamw"),
    "schedule.step_epochs": _STEPPED,
    "schedule.step_factor": _STEPPED,
    "loss.mse_target": _Rule(("loss.mse_weight",), lambda values: values["loss.mse_weight"] == 0),
    "loss.label_smoothing": _Rule(("loss.mse_weight",), lambda values: values["loss.mse_weight"] == 1),
    # Pillow resizes in its own way.
    "input.resize": _Rule(
        ("input.size", "input.encoding"),
        lambda values: values["input.size"] is None or values["input.encoding"] == "pil-la",
    ),
    # The others train on all training samples.
    "dataset.validation_fraction": _Rule(("selection",), lambda values: values["selection"] != "validation"),
    **{
        f"binning.{name}": _unless_split_by(name)
        for name in ("timesteps", "duration_us", "event_count", "overlap", "include_incomplete", "start_us")
    },
}


def is_inactive(path: str, values: Values) -> bool:
    """Whether a field has no effect beside the others, whatever it holds."""
    return path in _RULES and _RULES[path].idle(values)


def inactive_fields(values: Values) -> Iterator[str]:
    """The paths of the fields that have no effect beside the others, whatever they hold."""
    return (path for path in _RULES if is_inactive(path, values))


def governors_of(path: str) -> tuple[str, ...]:
    """The paths of the fields that decide whether a field has an effect."""
    return _RULES[path].governors if path in _RULES else ()


def redundant_fields(values: Values) -> Iterator[str]:
    """The paths of fields that say at length what None says: a part that is the whole.

    Unlike an idle field's, their value matters: another one would compute something else.
    """
    varies = "timesteps" not in _read_by(values["binning.split_by"])
    if not varies and values["grad_steps"] == values["binning.timesteps"]:
        yield "grad_steps"
    if not varies and values["loss.last_steps"] == values["binning.timesteps"]:
        yield "loss.last_steps"
    if values["micro_batch"] == values["batch_size"]:
        yield "micro_batch"
    if values["schedule.stop_epoch"] == values["schedule.epochs"]:
        yield "schedule.stop_epoch"
