"""Search spaces: words such as ``neuron.tau=1.5:4:log`` become dimensions of one space.

A word names a space (`tune.space.named_spaces`), a file of words (one a line, # begins a comment), or a field and its
values:

    field=a,b,c          choices
    field=lo:hi          from lo to hi, both included, evenly; whole numbers where the field holds whole numbers
    field=lo:hi:log      the same, evenly in the logarithm
    field=lo:hi:5        five values, evenly spaced; lo:hi:log:5 in the logarithm (whole numbers that fall together are
                         one value)

Behind each may stand where the field is searched: ``neuron.tau=1.5:4 if neuron.name=lif,plif`` and, joined by
``and``, further conditions on fields that are searched or the configuration's. Elsewhere the field keeps the
configuration's value. Fields without effect are left out by themselves: psn has no time constant, so that no two of its
trials differ in one. Several words go together, in any order; a field's own word takes the place of a named space's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.inactive_fields import governors_of, is_inactive
from pipeline.config.run_config import RunConfig, flatten, override
from preprocess.errors import ConfigError
from tune.space.dimensions import Choice, Dimension, listed
from tune.space.parser import FORMS, Word, parse_word, read_words

Changes = dict[str, Any]
"""Field path to value: what a trial changes in the configuration that all trials share."""

# Of larger spaces the size is told as if every dimension were searched everywhere.
_COUNTED = 10_000
_TRIED = 10_000


@dataclass(frozen=True)
class Space:
    """Dimensions, each behind those that decide where it is searched.

    Attributes:
        dimensions: In an order in which a point can be drawn.
        fields: Their paths, in the order of the words: that of a table's columns.
    """

    dimensions: tuple[Dimension, ...]
    fields: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """What `parse_space` makes the same space of, without files and names that may come to mean something else."""
        told = {dimension.path: dimension.describe() for dimension in self.dimensions}
        return tuple(told[path] for path in self.fields)

    def active(self, dimension: Dimension, point: Changes, config: RunConfig) -> bool:
        """Whether a dimension is searched in a point: its conditions hold, and its field has an effect.

        Args:
            dimension: One of the space's.
            point: Values of the dimensions before it; of others the configuration's hold.
            config: What all trials share.
        """
        return _is_active(dimension, flatten(config) | point)

    def clean(self, point: Changes, config: RunConfig) -> Changes:
        """The point without what is not searched in it; it need not be a valid configuration."""
        values = flatten(config) | {path: value for path, value in point.items() if path not in self.fields}
        kept = {path: value for path, value in point.items() if path not in self.fields}
        for dimension in self.dimensions:
            if dimension.path in point and _is_active(dimension, values):
                kept[dimension.path] = values[dimension.path] = point[dimension.path]
        return kept

    def combinations(self, config: RunConfig) -> Iterator[Changes]:
        """Every point, valid or not, the last dimension's values first; the dimensions must have ends of values."""
        return self._combinations(0, {}, flatten(config))

    def _combinations(self, done: int, point: Changes, values: dict[str, Any]) -> Iterator[Changes]:
        if done == len(self.dimensions):
            yield point
            return
        dimension = self.dimensions[done]
        if not _is_active(dimension, values):
            yield from self._combinations(done + 1, point, values)
            return
        for value in dimension.values:
            changed = {dimension.path: value}
            yield from self._combinations(done + 1, point | changed, values | changed)

    def size(self, config: RunConfig) -> float:
        """How many points there are at most; infinitely many where a dimension has no end of values."""
        most = math.prod(dimension.count for dimension in self.dimensions)
        return sum(1 for _ in self.combinations(config)) if most <= _COUNTED else most


def _is_active(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    return _conditions_hold(dimension, values) and not is_inactive(dimension.path, values)


def _conditions_hold(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    return all(values[part.path] in part.values for part in dimension.when)


def parse_space(words: Sequence[str], config: RunConfig) -> Space:
    """The space that the words of `--space` name.

    Args:
        words: Names of spaces, files, and fields with values; a field's own word takes the place of a named space's.
        config: What all trials share; named spaces take their values from it.

    Raises:
        ConfigError: With every fault of every word, a line each.
    """
    errors: list[str] = []
    named: dict[str, Dimension] = {}
    own: dict[str, Dimension] = {}
    where: dict[str, str] = {}
    for word in read_words(words, config, errors):
        try:
            dimension = parse_word(word.text)
        except ConfigError as error:
            errors += [f"{word.where}: {message}" for message in error.errors]
            continue
        _place(word, dimension, named, own, where, errors)
    asked = named | own
    dimensions = _in_order(tuple(asked.values()), errors)
    for dimension in dimensions:
        errors += [f"{where[dimension.path]}: {message}" for message in _value_errors(dimension, dimensions, config)]
    if not errors:
        reasons = {part.path: _why_never(part, dimensions, config) for part in dimensions}
        # Named spaces, and conditions on what is not searched, are for many configurations: what they rule out in this
        # one is left out without a word.
        told = [p.path for p in dimensions if p.path in own and not _is_for_another(p, dimensions, config)]
        dimensions = tuple(part for part in dimensions if reasons[part.path] is None)
        told = told if dimensions else list(reasons)
        errors += [f"{where[path]}: {reasons[path]}" for path in told if reasons[path] is not None]
    if not dimensions and not errors:
        errors.append(f"--space: expected {FORMS}, found no word")
    if errors:
        raise ConfigError(*dict.fromkeys(errors))
    left = {part.path for part in dimensions}
    return Space(dimensions, tuple(path for path in asked if path in left))


def _place(
    word: Word,
    dimension: Dimension,
    named: dict[str, Dimension],
    own: dict[str, Dimension],
    where: dict[str, str],
    errors: list[str],
) -> None:
    """Put a dimension where it belongs; later named spaces replace earlier ones, and own words all of them."""
    path = dimension.path
    if word.named:
        named[path] = dimension
        if path not in own:
            where[path] = word.where
        return
    if path in own:
        errors.append(f"{word.where}: {path} was given before. Give each field once.")
    own[path], where[path] = dimension, word.where


def governors(dimension: Dimension) -> tuple[str, ...]:
    """The fields that decide whether a dimension is searched."""
    return (*(part.path for part in dimension.when), *governors_of(dimension.path))


def _in_order(dimensions: Sequence[Dimension], errors: list[str]) -> tuple[Dimension, ...]:
    """Each behind those that decide where it is searched; adds a fault where two wait for each other."""
    left = {dimension.path: dimension for dimension in dimensions}
    ordered: list[Dimension] = []
    while left:
        free = next((d for d in left.values() if not any(path in left for path in governors(d))), None)
        if free is None:
            errors.append(f"--space: expected fields that do not wait for each other, found {_circle(left)}")
            break
        ordered.append(left.pop(free.path))
    return tuple(ordered)


def _circle(left: Mapping[str, Dimension]) -> str:
    """Fields that wait for each other, such as ``neuron.alpha (if neuron.tau), neuron.tau (if neuron.alpha)``."""
    awaits = {path: next(name for name in governors(d) if name in left) for path, d in left.items()}
    seen: list[str] = []
    path = next(iter(left))
    while path not in seen:
        seen.append(path)
        path = awaits[path]
    return ", ".join(f"{name} (decided by {awaits[name]})" for name in seen[seen.index(path) :])


def _value_errors(dimension: Dimension, dimensions: Sequence[Dimension], config: RunConfig) -> Iterator[str]:
    """Values that are of another type or out of range, whatever the other fields are.

    Fields may bound each other (k <= T, resets of some neurons), so a value is faulty only if it is beside the largest
    values of the others, and beside each single value of them.
    """
    needed = {part.path: part.values[0] for part in dimension.when}
    largest = {part.path: _largest(part) for part in dimensions} | needed
    others = [{part.path: value} | needed for part in dimensions if part is not dimension for value in part.ends()]
    for value in dimension.ends():
        changes = {dimension.path: value}
        errors = _own_errors(config, largest | changes, dimension.path)
        if errors and all(_own_errors(config, largest | other | changes, dimension.path) for other in others):
            yield from errors


def _own_errors(config: RunConfig, changes: Changes, path: str) -> list[str]:
    """Those of one field, without its name."""
    try:
        override(config, changes)
    except ConfigError as error:
        return [message.removeprefix(f"{path}: ") for message in error.errors if message.startswith(f"{path}:")]
    return []


def _largest(dimension: Dimension) -> Any:
    numbers = [value for value in dimension.ends() if isinstance(value, (int, float))]
    return max(numbers) if numbers else dimension.ends()[0]


def _is_for_another(dimension: Dimension, dimensions: Sequence[Dimension], config: RunConfig) -> bool:
    """Whether a condition on a field that is not searched does not hold in the configuration."""
    searched, values = {part.path for part in dimensions}, flatten(config)
    return any(part.path not in searched and values[part.path] not in part.values for part in dimension.when)


def _why_never(dimension: Dimension, dimensions: Sequence[Dimension], config: RunConfig) -> str | None:
    """Why a dimension is searched in no point at all; None where it is in some."""
    searched = {part.path: part for part in dimensions}
    values = flatten(config)
    for part in dimension.when:
        other = searched.get(part.path)
        if not any(_takes(other, value) if other else values[part.path] == value for value in part.values):
            found = other.describe() if other else f"{part.path}={listed((values[part.path],))}"
            return f"expected a condition that can hold, found {part.describe()} with {found}"
    ancestors = _ancestors(dimension, searched)
    deciding = Space(tuple(in_few(part, dimensions) for part in ancestors), tuple(part.path for part in ancestors))
    points = [values | point for point in itertools.islice(deciding.combinations(config), _TRIED)]
    if any(_is_active(dimension, point) for point in points):
        return None
    if not any(_conditions_hold(dimension, point) for point in points):
        return "expected conditions that can hold together, found none of them in one point"
    found = " and ".join(
        searched[path].describe() if path in searched else f"{path}={listed((values[path],))}"
        for path in governors_of(dimension.path)
    )
    return f"expected a field that has an effect, found {dimension.path} with {found}. Leave it out."


def _ancestors(dimension: Dimension, searched: Mapping[str, Dimension]) -> list[Dimension]:
    """The searched fields that decide whether it is searched, and those that decide that, in the space's order."""
    found: set[str] = set()
    left = [dimension]
    while left:
        fresh = {path for path in governors(left.pop()) if path in searched} - found
        found |= fresh
        left += [searched[path] for path in fresh]
    return [part for path, part in searched.items() if path in found]


def in_few(dimension: Dimension, dimensions: Sequence[Dimension]) -> Choice:
    """A dimension's values that can decide something: all choices; of a range its ends and what conditions name."""
    if isinstance(dimension, Choice):
        return dimension
    named = [value for part in dimensions for when in part.when if when.path == dimension.path for value in when.values]
    few = (*dimension.ends(), *(value for value in named if _takes(dimension, value)))
    return Choice(dimension.path, tuple(dict.fromkeys(few)), dimension.when)


def _takes(dimension: Dimension, value: Any) -> bool:
    """Whether a dimension may take a value."""
    if isinstance(dimension, Choice):
        return value in dimension.values
    return isinstance(value, (int, float)) and dimension.low <= value <= dimension.high
