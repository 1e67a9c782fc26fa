"""Configurations that represent trials not proposed yet: every class they may use, and the most expensive one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pipeline.config.run_config import RunConfig, override
from tune.search.search_plan import Search
from tune.space.dimensions import Choice, Dimension, Range
from tune.space.space import Space, governors, in_few, parse_space

# Fields that decide which classes trials use and how much memory they need (`tune.resources.trial_memory`).
_DECISIVE = ("network.name", "neuron.name", "network.width", "batch_size", "micro_batch", "input.size")
_TRIED = 10_000


def extreme_configs(search: Search) -> list[RunConfig]:
    """The configurations at the ends of the space of an adaptive search; none for other searches.

    Every class that a trial may use is in one of them, and no trial needs more memory than the most expensive of them.
    """
    if not search.traits.adaptive:
        return []
    space = parse_space(search.space, search.config)
    deciding = {path for part in space.dimensions for path in governors(part)}
    few = tuple(_few(part, space.dimensions, deciding, search.data.train) for part in space.dimensions)
    points = itertools.islice(Space(few, space.fields).combinations(search.config), _TRIED)
    return [override(search.config, point) for point in points if search.fits(point)]


def _few(dimension: Dimension, dimensions: Sequence[Dimension], deciding: set[str], train: int) -> Choice:
    """The values that matter here; one value if the dimension does not matter."""
    values = in_few(dimension, dimensions).values
    if dimension.path == "batch_size" and isinstance(dimension, Range):
        # No trial has a larger batch than there are samples.
        values = tuple(dict.fromkeys(min(value, train) for value in values))
    decisive = dimension.path in _DECISIVE or dimension.path.startswith("binning.") or dimension.path in deciding
    return Choice(dimension.path, values if decisive else values[:1], dimension.when)
