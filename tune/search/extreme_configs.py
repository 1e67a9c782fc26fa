"""Configurations that stand for trials that are not asked for yet: each class that they may have, and the costliest."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pipeline.config.run_config import RunConfig, override
from tune.search.plan import Search
from tune.space.dimensions import Choice, Dimension, Range
from tune.space.space import Space, governors, in_few, parse_space

# What decides which classes trials have, and how much memory they take (`tune.resources.trial_memory`).
_TOLD = ("network.name", "neuron.name", "network.width", "batch_size", "micro_batch", "input.size")
_TRIED = 10_000


def extreme_configs(search: Search) -> list[RunConfig]:
    """Of a search that asks for its trials one after another, those at the ends of its space; else none.

    Every class that a trial may have is in one of them, and none takes more memory than the costliest of them.
    """
    if not search.grows:
        return []
    space = parse_space(search.space, search.config)
    deciding = {path for part in space.dimensions for path in governors(part)}
    few = tuple(_few(part, space.dimensions, deciding, search.data.train) for part in space.dimensions)
    points = itertools.islice(Space(few, space.fields).combinations(search.config), _TRIED)
    return [override(search.config, point) for point in points if search.fits(point)]


def _few(dimension: Dimension, dimensions: Sequence[Dimension], deciding: set[str], train: int) -> Choice:
    """The values that matter here; one of a dimension that does not."""
    values = in_few(dimension, dimensions).values
    if dimension.path == "batch_size" and isinstance(dimension, Range):
        # No trial has a larger batch than there are samples.
        values = tuple(dict.fromkeys(min(value, train) for value in values))
    told = dimension.path in _TOLD or dimension.path.startswith("binning.") or dimension.path in deciding
    return Choice(dimension.path, values if told else values[:1], dimension.when)
