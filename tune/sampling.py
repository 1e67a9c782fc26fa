"""Distinct valid points of a space: all of a grid, or a Latin hypercube."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.config import RunConfig, fingerprint, override
from preprocess.errors import ConfigError
from tune.dimensions import Range
from tune.space import Changes, Space

# Spaces of up to so many combinations are listed in full before samples are drawn from them.
_LISTED = 10_000
_MOST_OF_A_GRID = 1_000_000
_ROUNDS = 100


def sample_space(space: Space, config: RunConfig, samples: int, seed: int) -> list[Changes]:
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
    found = _Distinct(space, config)
    if space.size() <= _LISTED:
        found.take(_combinations(space))
        points = found.points("no combination is valid")
        if len(points) <= samples:
            return [points[k] for k in rng.permutation(len(points))]
        found = _Distinct(space, config)
    for _ in range(_ROUNDS):
        if len(found) >= samples:
            break
        found.take(_latin_hypercube(space, samples - len(found), rng))
    return found.points("no valid combination was found")


def grid_space(space: Space, config: RunConfig) -> list[Changes]:
    """Every valid combination of a space, in order.

    Raises:
        ConfigError: If a range has no end of values, there are too many combinations, or none is valid.
    """
    endless = [dimension for dimension in space.dimensions if isinstance(dimension, Range) and not dimension.whole]
    if endless:
        raise ConfigError(
            *(
                f"--search grid: {part.describe()} has no end of values. Give it a number: {part.describe()}:5"
                for part in endless
            )
        )
    if space.size() > _MOST_OF_A_GRID:
        raise ConfigError(
            f"--search grid: expected at most {_MOST_OF_A_GRID:,} combinations, found {space.size():,.0f}. "
            "Draw some of them: --search random"
        )
    found = _Distinct(space, config)
    found.take(_combinations(space))
    return found.points("no combination is valid")


class _Distinct:
    """Valid points, each once, in the order in which they came."""

    def __init__(self, space: Space, config: RunConfig) -> None:
        self._space, self._config = space, config
        self._found: dict[str, Changes] = {}
        self._faults: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._found)

    def take(self, points: Iterable[Changes]) -> None:
        for point in points:
            try:
                clean = self._space.clean(point, self._config)
                self._found.setdefault(fingerprint(override(self._config, clean)), clean)
            except ConfigError as error:
                self._faults = error.faults

    def points(self, otherwise: str) -> list[Changes]:
        """All of them; ConfigError where there is none."""
        if not self._found:
            raise ConfigError(*(f"--space: {otherwise}, because {fault}" for fault in self._faults))
        return list(self._found.values())


def _combinations(space: Space) -> Iterator[Changes]:
    for values in itertools.product(*(dimension.values for dimension in space.dimensions)):
        yield dict(zip(space.fields, values, strict=True))


def _latin_hypercube(space: Space, count: int, rng: np.random.Generator) -> list[Changes]:
    shares = [(rng.permutation(count) + rng.random(count)) / count for _ in space.dimensions]
    return [
        {dimension.path: dimension.at(column[k]) for dimension, column in zip(space.dimensions, shares, strict=True)}
        for k in range(count)
    ]
