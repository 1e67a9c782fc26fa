"""Random search (a Latin hypercube) and grid search: distinct valid points of a space, drawn before the first trial."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from pipeline.config.run_config import RunConfig, fingerprint, override
from preprocess.errors import ConfigError
from tune.search.search_method import SearchMethod, runs_of_drawn_trials
from tune.space.dimensions import Range
from tune.space.space import Changes, Space

# Spaces of up to this many combinations are listed in full before samples are drawn from them.
_LISTED = 10_000
_MOST_OF_A_GRID = 100_000
_ROUNDS = 100


def sample_space(space: Space, config: RunConfig, samples: int, seed: int) -> list[Changes]:
    """Distinct valid points of a space: all of them, shuffled, if there are at most `samples`.

    Otherwise Latin hypercube sampling (McKay et al., Technometrics 1979): each dimension is cut into as many equal
    parts as there are samples, and each part is drawn once, so that a few samples cover every dimension evenly.

    Args:
        space: The space, from `parse_space`.
        config: The values that all trials share.
        samples: The maximum number of points, at least 1.
        seed: The same seed gives the same points in the same order.

    Raises:
        ConfigError: If no point is valid.
    """
    rng = np.random.default_rng(seed)
    listed: list[Changes] = []
    if space.size(config) <= _LISTED:
        everything = _Distinct(config)
        everything.take(space.combinations(config))
        listed = everything.points("no combination is valid")
        if len(listed) <= samples:
            return [listed[k] for k in rng.permutation(len(listed))]
    found = _Distinct(config)
    for _ in range(_ROUNDS):
        if len(found) >= samples:
            break
        found.take(space.clean(point, config) for point in _latin_hypercube(space, samples - len(found), rng))
    if len(found) < samples:
        # Add points that were not drawn because many draws are duplicates or not valid.
        found.take(listed[k] for k in rng.permutation(len(listed)))
    return found.points("no valid combination was found")[:samples]


def grid_space(space: Space, config: RunConfig) -> list[Changes]:
    """Every valid combination of a space, in order.

    Raises:
        ConfigError: If a range has infinitely many values, there are too many combinations, or none is valid.
    """
    endless = [part for part in space.dimensions if isinstance(part, Range) and not part.whole]
    if endless:
        ranges = [replace(part, when=()).describe() for part in endless]
        raise ConfigError(
            *(
                f"--search grid: expected a finite number of values, found {text}. State how many to try: "
                f"{part.path}=lo:hi:N, such as {text}:5"
                for part, text in zip(endless, ranges, strict=True)
            )
        )
    combinations = list(itertools.islice(space.combinations(config), _MOST_OF_A_GRID + 1))
    if len(combinations) > _MOST_OF_A_GRID:
        raise ConfigError(
            f"--search grid: expected at most {_MOST_OF_A_GRID:,} combinations, found more. Sample from them instead: "
            "--search random"
        )
    found = _Distinct(config)
    found.take(combinations)
    return found.points("no combination is valid")


def _draw_grid(space: Space, config: RunConfig, samples: int, seed: int) -> list[Changes]:
    """The complete grid, or a random subset of a given size."""
    points = grid_space(space, config)
    if not samples:
        return points
    # A random subset covers the grid; the first points in order would vary the last field alone.
    return [points[k] for k in np.random.default_rng(seed).permutation(len(points))[:samples]]


class _Distinct:
    """Valid points, each once, in the order in which they were added."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._found: dict[str, Changes] = {}
        self._errors: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._found)

    def take(self, points: Iterable[Changes]) -> None:
        for point in points:
            try:
                self._found.setdefault(fingerprint(override(self._config, point)), point)
            except ConfigError as error:
                self._errors = error.errors

    def points(self, otherwise: str) -> list[Changes]:
        """All of them; ConfigError if there are none."""
        if not self._found:
            raise ConfigError(*(f"--space: {otherwise}, because {message}" for message in self._errors))
        return list(self._found.values())


def _latin_hypercube(space: Space, count: int, rng: np.random.Generator) -> Iterator[Changes]:
    shares = [(rng.permutation(count) + rng.random(count)) / count for _ in space.dimensions]
    for k in range(count):
        yield {part.path: part.at(column[k]) for part, column in zip(space.dimensions, shares, strict=True)}


RANDOM = SearchMethod(
    name="random",
    summary="a Latin hypercube over the space",
    draw=sample_space,
    runs=runs_of_drawn_trials,
)
GRID = SearchMethod(
    name="grid",
    summary="every combination",
    draw=_draw_grid,
    runs=runs_of_drawn_trials,
    default_samples=0,
)
