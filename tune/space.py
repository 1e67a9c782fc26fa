"""Search spaces: words such as ``neuron.tau=1.5:4:log`` become dimensions, and dimensions distinct configurations.

A word is the name of a space or names a field and its values:

    field=a,b,c        choices
    field=lo:hi        from lo to hi, both included, evenly; whole numbers where the field holds whole numbers
    field=lo:hi:log    the same, evenly in the logarithm
"""

from __future__ import annotations

import difflib
import itertools
import math
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.command_line import absolute_class
from pipeline.config import PLACE_FIELDS, RunConfig, field_paths, fingerprint, override
from preprocess.errors import ConfigError

Changes = dict[str, Any]
"""Field path to value: what a trial changes in the configuration that all trials share."""

DEFAULT_SPACE = "timesteps-tau-neuron"
NEURONS = ("lif", "clif")
"""What the default space compares."""

_FORMS = "field=a,b,c, field=lo:hi or field=lo:hi:log"
# Spaces of up to so many configurations are listed in full before samples are drawn from them.
_LISTED = 10_000
_ROUNDS = 100


@dataclass(frozen=True)
class Choice:
    """A field that takes one of a few values."""

    path: str
    values: tuple[Any, ...]

    @property
    def count(self) -> float:
        return len(self.values)

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the way through all of them."""
        return self.values[int(share * len(self.values))]

    def ends(self) -> tuple[Any, ...]:
        """The values that must be valid for all of them to be."""
        return self.values

    def describe(self) -> str:
        """In the form of a word of `--space`."""
        return f"{self.path}={','.join('none' if value is None else str(value) for value in self.values)}"


@dataclass(frozen=True)
class Range:
    """A numeric field that takes any value from `low` to `high`, both included."""

    path: str
    low: float
    high: float
    log: bool
    whole: bool

    @property
    def count(self) -> float:
        return self.high - self.low + 1 if self.whole else math.inf

    @property
    def values(self) -> tuple[Any, ...]:
        """All of them, where they are whole numbers."""
        return tuple(range(int(self.low), int(self.high) + 1))

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the way from low to high; four digits, so that tables stay readable."""
        # A whole number k stands for [k - 1/2, k + 1/2): both ends are drawn as often as their neighbours.
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        value = round(value) if self.whole else float(f"{value:.4g}")
        return min(max(value, self.low), self.high)

    def ends(self) -> tuple[Any, ...]:
        """The values that must be valid for all of them to be."""
        return self.low, self.high

    def describe(self) -> str:
        """In the form of a word of `--space`."""
        return f"{self.path}={self.low}:{self.high}{':log' if self.log else ''}"


Dimension = Choice | Range


def _timesteps_tau_neuron(config: RunConfig) -> list[str]:
    """T 4, 8 and 12 where the configuration has T <= 12, else its T, a half and a quarter of it."""
    t = config.binning.timesteps
    steps = (4, 8, 12) if t <= 12 else (t // 4, t // 2, t)
    return [
        f"binning.timesteps={','.join(map(str, steps))}",
        "neuron.tau=1.5,2,3,4",
        f"neuron.name={','.join(NEURONS)}",
    ]


NAMED_SPACES: dict[str, Callable[[RunConfig], list[str]]] = {DEFAULT_SPACE: _timesteps_tau_neuron}


def parse_space(words: Sequence[str], config: RunConfig) -> tuple[Dimension, ...]:
    """The dimensions that the words of `--space` name.

    Args:
        words: Names of spaces, and fields with values; a field's own word takes the place of a named space's.
        config: What all trials share; named spaces take their values from it.

    Raises:
        ConfigError: With every fault of every word, a line each.
    """
    faults: list[str] = []
    named: dict[str, Dimension] = {}
    own: dict[str, Dimension] = {}
    for word in words:
        if word in NAMED_SPACES:
            named |= {dimension.path: dimension for dimension in map(_parse_word, NAMED_SPACES[word](config))}
            continue
        try:
            dimension = _parse_word(word)
        except ConfigError as error:
            faults += error.faults
            continue
        if dimension.path in own:
            faults.append(f"--space {word}: {dimension.path} was given before. Give each field once.")
        own[dimension.path] = dimension
    space = tuple((named | own).values())
    faults += _range_faults(space, config)
    if not space and not faults:
        faults.append(f"--space: expected a named space ({', '.join(NAMED_SPACES)}) or {_FORMS}, found no word")
    if faults:
        raise ConfigError(*faults)
    return space


def _parse_word(word: str) -> Dimension:
    path, equals, text = word.partition("=")
    if not equals:
        near = difflib.get_close_matches(word, NAMED_SPACES, n=1, cutoff=0.4)
        hint = f". Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"--space {word}: expected a named space ({', '.join(NAMED_SPACES)}) or {_FORMS}{hint}")
    kinds = field_paths()
    if path not in kinds:
        near = difflib.get_close_matches(path, kinds, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else "The field paths are in: spikeloom train --help"
        raise ConfigError(f"--space {word}: no such field. {hint}")
    if path in PLACE_FIELDS:
        raise ConfigError(f"--space {word}: {path} says where a run runs, not what it computes. Set it with --{path}.")
    if path == "selection" or path.startswith("dataset."):
        raise ConfigError(
            f"--space {word}: trials with another {path} are scored on other samples and cannot be ranked. "
            "Search once for each."
        )
    if ":" in text and _number_kind(kinds[path]) is not None:
        return _parse_range(word, path, text, kinds[path])
    return _parse_choice(word, path, text, kinds[path])


def _parse_choice(word: str, path: str, text: str, kind: Any) -> Choice:
    words = [absolute_class(item.strip()) for item in text.split(",")]
    if not all(words):
        raise ConfigError(f"--space {word}: expected values between the commas, as in {path}=a,b,c")
    return Choice(path, tuple(dict.fromkeys(_typed(item, kind) for item in words)))


def _parse_range(word: str, path: str, text: str, kind: Any) -> Range:
    parts = text.split(":")
    whole = _number_kind(kind) is int
    try:
        low, high = (int(part) if whole else float(part) for part in parts[:2])
    except ValueError:
        numbers = "whole numbers" if whole else "numbers"
        raise ConfigError(f"--space {word}: expected {numbers} as in {path}=lo:hi, found '{text}'") from None
    if len(parts) > 3 or (len(parts) == 3 and parts[2] != "log"):
        raise ConfigError(f"--space {word}: expected {path}=lo:hi or {path}=lo:hi:log, found '{text}'")
    if not low < high or math.isinf(low) or math.isinf(high):
        raise ConfigError(f"--space {word}: expected lo < hi, both finite, found {low} and {high}")
    log = len(parts) == 3
    if log and low <= 0:
        raise ConfigError(f"--space {word}: expected lo > 0 for a logarithmic range, found {low}")
    return Range(path, low, high, log, whole)


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


def _range_faults(space: Sequence[Dimension], config: RunConfig) -> Iterator[str]:
    """Values that are of another type or out of range, whatever the other fields are.

    Fields may bound each other (k <= T), so each value is tried beside the largest values of the others.
    """
    largest = {dimension.path: _largest(dimension) for dimension in space}
    for dimension in space:
        for value in dimension.ends():
            try:
                override(config, {**largest, dimension.path: value})
            except ConfigError as error:
                for fault in error.faults:
                    if fault.startswith(f"{dimension.path}:"):
                        yield f"--space {dimension.describe()}: {fault.removeprefix(f'{dimension.path}: ')}"


def _largest(dimension: Dimension) -> Any:
    numbers = [value for value in dimension.ends() if isinstance(value, (int, float))]
    return max(numbers) if numbers else dimension.ends()[0]


def sample_space(space: Sequence[Dimension], config: RunConfig, samples: int, seed: int) -> list[Changes]:
    """Distinct valid points of a space: all of them, shuffled, where there are no more than `samples`.

    Else Latin hypercube sampling (McKay et al., Technometrics 1979): each dimension is cut into as many equal parts
    as there are samples, and each part is drawn once, so that few samples still cover every choice evenly.

    Args:
        space: As from `parse_space`.
        config: What all trials share.
        samples: How many, at least 1.
        seed: The same seed gives the same points in the same order.

    Raises:
        ConfigError: If no point is valid.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Changes] = {}
    faults: tuple[str, ...] = ()

    def take(points: Iterator[Changes] | list[Changes]) -> None:
        nonlocal faults
        for point in points:
            try:
                found.setdefault(fingerprint(override(config, point)), point)
            except ConfigError as error:
                faults = error.faults

    if math.prod(dimension.count for dimension in space) <= _LISTED:
        take(_grid(space))
        points = list(found.values())
        if not points:
            raise ConfigError(*(f"--space: no combination is valid, because {fault}" for fault in faults))
        if len(points) <= samples:
            return [points[k] for k in rng.permutation(len(points))]
        found.clear()
    for _ in range(_ROUNDS):
        if len(found) >= samples:
            break
        take(_latin_hypercube(space, samples - len(found), rng))
    if not found:
        raise ConfigError(*(f"--space: no valid combination was found, because {fault}" for fault in faults))
    return list(found.values())


def _grid(space: Sequence[Dimension]) -> Iterator[Changes]:
    for values in itertools.product(*(dimension.values for dimension in space)):
        yield {dimension.path: value for dimension, value in zip(space, values, strict=True)}


def _latin_hypercube(space: Sequence[Dimension], count: int, rng: np.random.Generator) -> list[Changes]:
    shares = [(rng.permutation(count) + rng.random(count)) / count for _ in space]
    return [
        {dimension.path: dimension.at(column[k]) for dimension, column in zip(space, shares, strict=True)}
        for k in range(count)
    ]
