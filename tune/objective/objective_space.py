"""The search space of an objective: values by arbitrary names, in the notation of ``--space``."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from preprocess.errors import ConfigError
from tune.space.dimensions import Choice, Dimension, Range

Values = dict[str, Any]
"""The argument of an objective: the values of one trial by name."""

_MOST_COMBINATIONS = 100_000
_ROUNDS = 100
_FORMS = "a,b,c, lo:hi, lo:hi:log or, after either range, :N for N values"


def parse_values(space: Mapping[str, str]) -> list[Dimension]:
    """Parse the values of each name into a dimension.

    Args:
        space: Values by name, such as ``{"lr": "0.001:0.1:log", "width": "16,32"}``. A range between integers gives
            integers.

    Raises:
        ConfigError: With a line for each name whose values cannot be parsed.
    """
    dimensions, errors = [], []
    for name, text in space.items():
        try:
            dimensions.append(_parse(name, str(text).strip()))
        except ConfigError as error:
            errors += [f"space {name}={text}: {message}" for message in error.errors]
    if not space:
        errors.append('space: expected values by name, such as {"lr": "0.001:0.1:log"}, found none')
    if errors:
        raise ConfigError(*errors)
    return dimensions


def _parse(name: str, text: str) -> Dimension:
    if ":" not in text:
        items = [item.strip() for item in text.split(",")]
        if not all(items):
            raise ConfigError(f"expected {_FORMS}, found an empty value")
        return Choice(name, tuple(dict.fromkeys(_typed(item) for item in items)))
    first, second, *rest = text.split(":")
    low, high = _typed(first), _typed(second)
    log = rest[:1] == ["log"]
    count = rest[1:] if log else rest
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or len(count) > 1 or not all(part.isdecimal() for part in count):
        raise ConfigError(f"expected {_FORMS}, found '{text}'")
    if not (-math.inf < low < high < math.inf) or (log and low <= 0):
        raise ConfigError(f"expected lo < hi, both finite{', and lo > 0 for log' if log else ''}, found '{text}'")
    found = Range(name, low, high, log, isinstance(low, int) and isinstance(high, int))
    if not count:
        return found
    if int(count[0]) < 2:
        raise ConfigError(f"expected at least 2 values, found {count[0]}")
    return Choice(name, found.grid(int(count[0])))


def _typed(text: str) -> Any:
    """An integer, a float, true, false or none; any other text stays a string."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def draw_values(dimensions: Sequence[Dimension], method: str, samples: int | None, seed: int) -> list[Values]:
    """Draw the distinct trials of a search: a Latin hypercube (random), or all combinations (grid).

    Args:
        dimensions: The dimensions from `parse_values`.
        method: random or grid.
        samples: Maximum number of trials; None for all combinations.
        seed: Random seed; the same seed gives the same trials in the same order.

    Raises:
        ConfigError: If the method does not exist, or all combinations are meant and they are too many.
    """
    if method not in ("random", "grid"):
        raise ConfigError(f"method: expected random or grid for an objective, found {method}")
    if samples is not None and samples < 1:
        raise ConfigError(f"samples: expected at least 1, found {samples}")
    rng = np.random.default_rng(seed)
    size = math.prod(dimension.count for dimension in dimensions)
    if (method == "grid" or samples is None) and size > _MOST_COMBINATIONS:
        raise ConfigError(
            f"method {method}: expected at most {_MOST_COMBINATIONS:,} combinations, found {size:,.0f}. Give ranges a "
            "number of values, such as 0.001:0.1:log:5, or use random."
        )
    wanted = samples or int(size)
    if size <= max(wanted, 10_000):
        names = [dimension.path for dimension in dimensions]
        every = [dict(zip(names, point, strict=True)) for point in itertools.product(*(d.values for d in dimensions))]
        if method == "grid" and samples is None:
            return every
        if len(every) <= wanted or method == "grid":
            return [every[k] for k in rng.permutation(len(every))[:wanted]]
    found: dict[str, Values] = {}
    for _ in range(_ROUNDS):
        missing = wanted - len(found)
        if missing <= 0:
            break
        shares = [(rng.permutation(missing) + rng.random(missing)) / missing for _ in dimensions]
        for k in range(missing):
            point = {d.path: d.at(column[k]) for d, column in zip(dimensions, shares, strict=True)}
            found.setdefault(json.dumps(point, sort_keys=True), point)
    return list(found.values())
