"""Search spaces: entries such as ``neuron.tau=1.5:4:log`` become the dimensions of one space.

An entry is the name of a space (`tune.space.named_spaces`), a file of entries (one a line; # starts a comment), or a
field and its values:

    field=a,b,c          choices
    field=lo:hi          from lo to hi, both included, uniformly; whole numbers if the field has whole numbers
    field=lo:hi:log      the same, uniformly in the logarithm
    field=lo:hi:5        five evenly spaced values; lo:hi:log:5 in the logarithm (equal whole numbers count once)

A condition may follow: ``neuron.tau=1.5:4 if neuron.name=lif,plif`` searches the field only there, and ``and`` joins
further conditions on fields, searched or not. Elsewhere the field keeps the configuration's value. Fields without an
effect are left out automatically: psn has no time constant, so no two of its trials differ in one. Entries combine in
any order; an explicit field overrides a named space.
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
from tune.space.parser import FORMS, Entry, parse_entry, read_entries

Changes = dict[str, Any]
"""The changes of a trial to the configuration that all trials share: values by field path."""

# The size of larger spaces is computed as if every dimension were searched everywhere.
_COUNTED = 10_000
_TRIED = 10_000


@dataclass(frozen=True)
class Space:
    """The dimensions of a search.

    Attributes:
        dimensions: Each after those that decide where it is searched, so that a point can be drawn in this order.
        fields: Their paths in the order of the entries, which is that of a table's columns.
    """

    dimensions: tuple[Dimension, ...]
    fields: tuple[str, ...]

    @property
    def entries(self) -> tuple[str, ...]:
        """Entries that `parse_space` reads as the same space, with files and named spaces written out."""
        described = {dimension.path: dimension.describe() for dimension in self.dimensions}
        return tuple(described[path] for path in self.fields)

    def active(self, dimension: Dimension, point: Changes, config: RunConfig) -> bool:
        """Whether a dimension is searched at a point: its conditions are met, and its field has an effect.

        Args:
            dimension: A dimension of the space.
            point: Values of the dimensions before it; other fields have the configuration's values.
            config: The values that all trials share.
        """
        return _is_active(dimension, flatten(config) | point)

    def clean(self, point: Changes, config: RunConfig) -> Changes:
        """The point without the fields that are not searched at it; it need not be a valid configuration."""
        values = flatten(config) | {path: value for path, value in point.items() if path not in self.fields}
        kept = {path: value for path, value in point.items() if path not in self.fields}
        for dimension in self.dimensions:
            if dimension.path in point and _is_active(dimension, values):
                kept[dimension.path] = values[dimension.path] = point[dimension.path]
        return kept

    def combinations(self, config: RunConfig) -> Iterator[Changes]:
        """Every point, valid or not, the last dimension varying fastest; all dimensions must be finite."""
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
        """The maximum number of points; infinite if a dimension has infinitely many values."""
        most = math.prod(dimension.count for dimension in self.dimensions)
        return sum(1 for _ in self.combinations(config)) if most <= _COUNTED else most


def _is_active(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    return _conditions_met(dimension, values) and not is_inactive(dimension.path, values)


def _conditions_met(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    return all(values[part.path] in part.values for part in dimension.when)


def parse_space(entries: Sequence[str], config: RunConfig) -> Space:
    """The space that the entries of `--space` describe.

    Args:
        entries: Named spaces, files, and fields with values; an explicit field overrides a named space.
        config: The values that all trials share; named spaces depend on them.

    Raises:
        ConfigError: With every error of every entry, a line each.
    """
    read, errors = read_entries(entries, config)
    parsed: list[tuple[Entry, Dimension]] = []
    for entry in read:
        try:
            parsed.append((entry, parse_entry(entry.text)))
        except ConfigError as error:
            errors += [f"{entry.where}: {message}" for message in error.errors]
    chosen, duplicates = _by_field(parsed)
    dimensions, circles = _in_order([dimension for _, dimension in chosen.values()])
    where = {path: entry.where for path, (entry, _) in chosen.items()}
    errors += duplicates + circles
    for dimension in dimensions:
        errors += [f"{where[dimension.path]}: {message}" for message in _value_errors(dimension, dimensions, config)]
    if not errors:
        reasons = {part.path: _why_never(part, dimensions, config) for part in dimensions}
        # Named spaces, and conditions on fields that are not searched, suit many configurations: dimensions of theirs
        # that this configuration excludes are left out silently.
        explicit = [part for part in dimensions if not chosen[part.path][0].named]
        reported = [part.path for part in explicit if not _suits_another(part, dimensions, config)]
        dimensions = tuple(part for part in dimensions if reasons[part.path] is None)
        reported = reported if dimensions else list(reasons)
        errors += [f"{where[path]}: {reasons[path]}" for path in reported if reasons[path] is not None]
    if not dimensions and not errors:
        errors.append(f"--space: expected {FORMS}, found nothing")
    if errors:
        raise ConfigError(*dict.fromkeys(errors))
    left = {part.path for part in dimensions}
    return Space(dimensions, tuple(path for path in chosen if path in left))


def _by_field(
    parsed: Sequence[tuple[Entry, Dimension]],
) -> tuple[dict[str, tuple[Entry, Dimension]], list[str]]:
    """The entry that defines each field, and errors for fields that are given twice.

    A later named space overrides an earlier one, and an explicit field overrides all of them.
    """
    named: dict[str, tuple[Entry, Dimension]] = {}
    explicit: dict[str, tuple[Entry, Dimension]] = {}
    errors = []
    for entry, dimension in parsed:
        if entry.named:
            named[dimension.path] = entry, dimension
        elif dimension.path in explicit:
            errors.append(f"{entry.where}: expected each field once, found {dimension.path} again. Leave one out.")
        else:
            explicit[dimension.path] = entry, dimension
    return named | explicit, errors


def governors(dimension: Dimension) -> tuple[str, ...]:
    """The fields that decide whether a dimension is searched."""
    return (*(part.path for part in dimension.when), *governors_of(dimension.path))


def _in_order(dimensions: Sequence[Dimension]) -> tuple[tuple[Dimension, ...], list[str]]:
    """The dimensions, each after those that decide where it is searched; and an error if some depend on each other."""
    left = {dimension.path: dimension for dimension in dimensions}
    ordered: list[Dimension] = []
    while left:
        free = next((d for d in left.values() if not any(path in left for path in governors(d))), None)
        if free is None:
            circle = f"--space: expected fields whose conditions do not form a circle, found {_circle(left)}"
            return tuple(ordered), [circle]
        ordered.append(left.pop(free.path))
    return tuple(ordered), []


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
    """Values with a wrong type or out of range, regardless of the values of the other fields.

    Fields may limit each other (k <= T, resets of some neurons), so a value is wrong only if it is wrong together with
    the largest values of the other fields, and with each of their values.
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
    """The errors of one field, without its name."""
    try:
        override(config, changes)
    except ConfigError as error:
        return [message.removeprefix(f"{path}: ") for message in error.errors if message.startswith(f"{path}:")]
    return []


def _largest(dimension: Dimension) -> Any:
    numbers = [value for value in dimension.ends() if isinstance(value, (int, float))]
    return max(numbers) if numbers else dimension.ends()[0]


def _suits_another(dimension: Dimension, dimensions: Sequence[Dimension], config: RunConfig) -> bool:
    """Whether a condition on a field that is not searched is not met by the configuration."""
    searched, values = {part.path for part in dimensions}, flatten(config)
    return any(part.path not in searched and values[part.path] not in part.values for part in dimension.when)


def _why_never(dimension: Dimension, dimensions: Sequence[Dimension], config: RunConfig) -> str | None:
    """The reason why a dimension is not searched at any point; None if it is searched at some."""
    searched = {part.path: part for part in dimensions}
    values = flatten(config)
    for part in dimension.when:
        other = searched.get(part.path)
        if not any(_includes(other, value) if other else values[part.path] == value for value in part.values):
            found = other.describe() if other else f"{part.path}={listed((values[part.path],))}"
            return f"expected a condition that can be met, found {part.describe()} with {found}"
    ancestors = _ancestors(dimension, searched)
    deciding = Space(tuple(in_few(part, dimensions) for part in ancestors), tuple(part.path for part in ancestors))
    points = [values | point for point in itertools.islice(deciding.combinations(config), _TRIED)]
    if any(_is_active(dimension, point) for point in points):
        return None
    if not any(_conditions_met(dimension, point) for point in points):
        return "expected conditions that can be met together, found no point that meets all of them"
    found = " and ".join(
        searched[path].describe() if path in searched else f"{path}={listed((values[path],))}"
        for path in governors_of(dimension.path)
    )
    return f"expected a field that has an effect, found {dimension.path} with {found}. Leave it out."


def _ancestors(dimension: Dimension, searched: Mapping[str, Dimension]) -> list[Dimension]:
    """The searched fields that decide whether it is searched, directly or indirectly, in the space's order."""
    found: set[str] = set()
    left = [dimension]
    while left:
        fresh = {path for path in governors(left.pop()) if path in searched} - found
        found |= fresh
        left += [searched[path] for path in fresh]
    return [part for path, part in searched.items() if path in found]


def in_few(dimension: Dimension, dimensions: Sequence[Dimension]) -> Choice:
    """The values of a dimension that can decide something: all choices, or a range's ends and values in conditions."""
    if isinstance(dimension, Choice):
        return dimension
    named = [value for part in dimensions for when in part.when if when.path == dimension.path for value in when.values]
    few = (*dimension.ends(), *(value for value in named if _includes(dimension, value)))
    return Choice(dimension.path, tuple(dict.fromkeys(few)), dimension.when)


def _includes(dimension: Dimension, value: Any) -> bool:
    """Whether a dimension includes a value."""
    if isinstance(dimension, Choice):
        return value in dimension.values
    return isinstance(value, (int, float)) and dimension.low <= value <= dimension.high
