"""Search spaces: words such as ``neuron.tau=1.5:4:log`` become dimensions of one space.

A word names a space, a file of words (one a line, # begins a comment), or a field and its values:

    field=a,b,c          choices
    field=lo:hi          from lo to hi, both included, evenly; whole numbers where the field holds whole numbers
    field=lo:hi:log      the same, evenly in the logarithm
    field=lo:hi:5        five values, evenly spaced; with :log:5 in the logarithm

Behind each may stand where the field is searched: ``neuron.tau=1.5:4 if neuron.name=lif,plif`` and, joined by
``and``, further conditions. Elsewhere the field keeps the configuration's value. Fields without effect are left out by
themselves: psn has no time constant, so no two of its trials differ in one.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.command_line import absolute_class
from pipeline.config import PLACE_FIELDS, RunConfig, field_paths, flatten, override
from pipeline.config_effects import idle_fields
from preprocess.errors import ConfigError
from tune.dimensions import Choice, Condition, Dimension, Range
from tune.named_spaces import NAMED_SPACES

Changes = dict[str, Any]
"""Field path to value: what a trial changes in the configuration that all trials share."""

_FORMS = "field=a,b,c, field=lo:hi or field=lo:hi:log"
_MOST_VALUES = 1000
# What decides which samples score a trial; an augmentation changes training samples alone.
_SCORED_ON = ("dataset.name", "dataset.split", "dataset.validation_fraction", "selection")
_NOT_SEARCHED = ("schedule.stop_epoch", "start_from")


@dataclass(frozen=True)
class Space:
    """Dimensions, each behind those that its conditions name.

    Attributes:
        dimensions: In an order in which a point can be drawn.
    """

    dimensions: tuple[Dimension, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The searched field paths."""
        return tuple(dimension.path for dimension in self.dimensions)

    def active(self, dimension: Dimension, point: Changes, config: RunConfig) -> bool:
        """Whether a dimension's conditions hold in a point, or in the configuration where the point says nothing."""
        return all(_value(part.path, point, config) in part.values for part in dimension.when)

    def clean(self, point: Changes, config: RunConfig) -> Changes:
        """The point without what its conditions rule out, and without fields that have no effect in it.

        Raises:
            ConfigError: If the point is no valid configuration.
        """
        kept: Changes = {}
        for dimension in self.dimensions:
            if dimension.path in point and self.active(dimension, kept, config):
                kept[dimension.path] = point[dimension.path]
        idle = set(idle_fields(override(config, kept)))
        return {path: value for path, value in kept.items() if path not in idle}

    def size(self) -> float:
        """How many points there are at most."""
        return math.prod(dimension.count for dimension in self.dimensions)


def _value(path: str, point: Changes, config: RunConfig) -> Any:
    return point[path] if path in point else flatten(config)[path]


def parse_space(words: Sequence[str], config: RunConfig) -> Space:
    """The space that the words of `--space` name.

    Args:
        words: Names of spaces, files, and fields with values; a field's own word takes the place of a named space's.
        config: What all trials share; named spaces take their values from it.

    Raises:
        ConfigError: With every fault of every word, a line each.
    """
    faults: list[str] = []
    named: dict[str, Dimension] = {}
    own: dict[str, Dimension] = {}
    for where, word in _read_words(words, faults):
        if word in NAMED_SPACES:
            named |= {dimension.path: dimension for dimension in map(_parse_word, NAMED_SPACES[word](config))}
            continue
        try:
            dimension = _parse_word(word)
        except ConfigError as error:
            faults += [f"--space {where}{fault}" for fault in error.faults]
            continue
        if dimension.path in own:
            faults.append(f"--space {where}{word}: {dimension.path} was given before. Give each field once.")
        own[dimension.path] = dimension
    dimensions = _in_order(tuple((named | own).values()), faults)
    faults += _range_faults(dimensions, config)
    if not dimensions and not faults:
        faults.append(f"--space: expected a named space ({', '.join(NAMED_SPACES)}) or {_FORMS}, found no word")
    if faults:
        raise ConfigError(*faults)
    return Space(dimensions)


def _read_words(words: Sequence[str], faults: list[str]) -> Iterator[tuple[str, str]]:
    """Each word with where it stands: nothing for one of the command line, file and line for the others."""
    for word in words:
        path = Path(word).expanduser()
        if "=" in word or word in NAMED_SPACES or not (word.endswith(".txt") or path.is_file()):
            yield "", word
            continue
        try:
            lines = path.read_text().splitlines()
        except (OSError, ValueError) as error:
            faults.append(f"--space {word}: cannot be read ({getattr(error, 'strerror', None) or error})")
            continue
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if text:
                yield f"{word}, line {number}: ", text


def _in_order(dimensions: Sequence[Dimension], faults: list[str]) -> tuple[Dimension, ...]:
    """Each behind those that its conditions name; adds a fault where two wait for each other."""
    paths = {dimension.path for dimension in dimensions}
    ordered: list[Dimension] = []
    left = list(dimensions)
    while left:
        there = {dimension.path for dimension in ordered}
        free = [d for d in left if all(part.path in there or part.path not in paths for part in d.when)]
        if not free:
            names = ", ".join(dimension.path for dimension in left)
            faults.append(f"--space: expected conditions that do not go round in a circle, found {names}")
            return tuple(ordered)
        ordered += free
        left = [dimension for dimension in left if dimension not in free]
    return tuple(ordered)


def _parse_word(word: str) -> Dimension:
    text, with_conditions, rest = word.partition(" if ")
    dimension = _parse_dimension(text.strip())
    if not with_conditions:
        return dimension
    conditions = []
    for part in rest.split(" and "):
        try:
            condition = _parse_dimension(part.strip(), searched=False)
        except ConfigError as error:
            raise ConfigError(f"{dimension.path}=... if {error.faults[0]}") from None
        if not isinstance(condition, Choice):
            raise ConfigError(f"{word}: expected a condition such as neuron.name=lif,plif, found '{part.strip()}'")
        if condition.path == dimension.path:
            raise ConfigError(f"{word}: expected a condition on another field, found {dimension.path} itself")
        conditions.append(Condition(condition.path, condition.values))
    return replace(dimension, when=tuple(conditions))


def _parse_dimension(word: str, *, searched: bool = True) -> Dimension:
    path, equals, text = word.partition("=")
    if not equals:
        near = difflib.get_close_matches(word, NAMED_SPACES, n=1)
        hint = f". Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"{word}: expected a named space ({', '.join(NAMED_SPACES)}) or {_FORMS}{hint}")
    kinds = field_paths()
    if path not in kinds:
        near = difflib.get_close_matches(path, kinds, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else "The field paths are in: spikeloom train --help"
        raise ConfigError(f"{word}: no such field. {hint}")
    if searched:
        _refuse_fixed(word, path)
    if ":" in text and _number_kind(kinds[path]) is not None and not text.startswith(("/", ".", "~")):
        return _parse_range(word, path, text, kinds[path])
    return _parse_choice(word, path, text, kinds[path])


def _refuse_fixed(word: str, path: str) -> None:
    """Fields in which trials may not differ."""
    if path in PLACE_FIELDS:
        raise ConfigError(f"{word}: {path} says where a run runs, not what it computes. Set it with --{path}.")
    if path in _SCORED_ON:
        raise ConfigError(
            f"{word}: trials with another {path} are scored on other samples and cannot be ranked. "
            "Search once for each."
        )
    if path in _NOT_SEARCHED:
        raise ConfigError(f"{word}: {path} says which part of a training a run is, and is no setting to search.")


def _parse_choice(word: str, path: str, text: str, kind: Any) -> Choice:
    words = [absolute_class(item.strip()) for item in text.split(",")]
    if not all(words):
        raise ConfigError(f"{word}: expected values between the commas, as in {path}=a,b,c")
    return Choice(path, tuple(dict.fromkeys(_typed(item, kind) for item in words)))


def _parse_range(word: str, path: str, text: str, kind: Any) -> Dimension:
    parts = text.split(":")
    whole = _number_kind(kind) is int
    try:
        low, high = (int(part) if whole else float(part) for part in parts[:2])
    except ValueError:
        numbers = "whole numbers" if whole else "numbers"
        raise ConfigError(f"{word}: expected {numbers} as in {path}=lo:hi, found '{text}'") from None
    log = len(parts) > 2 and parts[2] == "log"
    rest = parts[3:] if log else parts[2:]
    if len(rest) > 1 or not all(part.isdigit() for part in rest):
        forms = f"{path}=lo:hi, {path}=lo:hi:log or, behind either, :N for so many values"
        raise ConfigError(f"{word}: expected {forms}, found '{text}'")
    if not low < high or math.isinf(low) or math.isinf(high):
        raise ConfigError(f"{word}: expected lo < hi, both finite, found {low} and {high}")
    if log and low <= 0:
        raise ConfigError(f"{word}: expected lo > 0 for a logarithmic range, found {low}")
    found = Range(path, low, high, log, whole)
    if not rest:
        return found
    if not 2 <= int(rest[0]) <= _MOST_VALUES:
        raise ConfigError(f"{word}: expected 2 to {_MOST_VALUES} values, found {rest[0]}")
    return Choice(path, found.grid(int(rest[0])))


def _options(kind: Any) -> tuple[Any, ...]:
    """The types that a field's values may have."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if union else (kind,)


def _number_kind(kind: Any) -> type | None:
    return next((option for option in _options(kind) if option in (int, float)), None)


def _typed(text: str, kind: Any) -> Any:
    """The word as a value of the field's type, or as it is where it is none: `override` then tells what fits."""
    options = _options(kind)
    if type(None) in options and text.lower() == "none":
        return None
    for option in options:
        if typing.get_origin(option) is Literal:
            return next((choice for choice in typing.get_args(option) if str(choice) == text), text)
        if option is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if option in (int, float):
            try:
                return option(text)
            except ValueError:
                continue
    return text


def _range_faults(dimensions: Sequence[Dimension], config: RunConfig) -> Iterator[str]:
    """Values that are of another type or out of range, whatever the other fields are.

    Fields may bound each other (k <= T), so each value is tried beside the largest values of the others.
    """
    largest = {dimension.path: _largest(dimension) for dimension in dimensions}
    for dimension in dimensions:
        for value in dimension.ends():
            yield from _value_faults(dimension.describe(), dimension.path, value, largest, config)
        for condition in dimension.when:
            for value in condition.values:
                yield from _value_faults(dimension.describe(), condition.path, value, largest, config)


def _value_faults(word: str, path: str, value: Any, largest: Changes, config: RunConfig) -> Iterator[str]:
    try:
        override(config, {**largest, path: value})
    except ConfigError as error:
        for fault in error.faults:
            if fault.startswith(f"{path}:"):
                yield f"--space {word}: {fault.removeprefix(f'{path}: ')}"


def _largest(dimension: Dimension) -> Any:
    numbers = [value for value in dimension.ends() if isinstance(value, (int, float))]
    return max(numbers) if numbers else dimension.ends()[0]
