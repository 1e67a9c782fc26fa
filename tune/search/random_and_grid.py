"""Distinct valid points of a space: all of a grid, or a Latin hypercube."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from pipeline.config.run_config import RunConfig, fingerprint, override
from preprocess.errors import ConfigError
from tune.space.dimensions import Range
from tune.space.space import Changes, Space

# Spaces of up to so many combinations are listed in full before samples are drawn from them.
_LISTED = 10_000
_MOST_OF_A_GRID = 100_000
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
        # Points that are seldom drawn, where many draws come to the same or to nothing valid.
        found.take(listed[k] for k in rng.permutation(len(listed)))
    return found.points("no valid combination was found")[:samples]


def grid_space(space: Space, config: RunConfig) -> list[Changes]:
    """Every valid combination of a space, in order.

    Raises:
        ConfigError: If a range has no end of values, there are too many combinations, or none is valid.
    """
    endless = [part for part in space.dimensions if isinstance(part, Range) and not part.whole]
    if endless:
        words = [replace(part, when=()).describe() for part in endless]
        raise ConfigError(
            *(
                f"--search grid: expected values that end, found {word}. Give it a number of values: "
                f"{part.path}=lo:hi:N, such as {word}:5"
                for part, word in zip(endless, words, strict=True)
            )
        )
    combinations = list(itertools.islice(space.combinations(config), _MOST_OF_A_GRID + 1))
    if len(combinations) > _MOST_OF_A_GRID:
        raise ConfigError(
            f"--search grid: expected at most {_MOST_OF_A_GRID:,} combinations, found more. Draw some of them: "
            "--search random"
        )
    found = _Distinct(config)
    found.take(combinations)
    return found.points("no combination is valid")


class _Distinct:
    """Valid points, each once, in the order in which they came."""

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
        """All of them; ConfigError where there is none."""
        if not self._found:
            raise ConfigError(*(f"--space: {otherwise}, because {message}" for message in self._errors))
        return list(self._found.values())


def _latin_hypercube(space: Space, count: int, rng: np.random.Generator) -> Iterator[Changes]:
    shares = [(rng.permutation(count) + rng.random(count)) / count for _ in space.dimensions]
    for k in range(count):
        yield {part.path: part.at(column[k]) for part, column in zip(space.dimensions, shares, strict=True)}
