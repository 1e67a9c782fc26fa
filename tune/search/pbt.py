"""Population-based training (Jaderberg et al., 2017): members train in parallel; poor ones continue from better ones.

A generation is a few epochs of every member. After it, each member of the lowest quarter continues from the weights of
a member of the highest quarter, with slightly changed settings; the others continue from their own weights. Each part
is a separate trial that starts from another (`start_from`), so its fingerprint covers its complete ancestry. The next
generation depends on the ledger and the seed alone: neither on the order in which members finish nor on interruptions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.run_config import RunConfig, fingerprint
from tune.search.random_and_grid import sample_space
from tune.search.search_method import SearchMethod
from tune.space.dimensions import Choice, Dimension
from tune.space.space import Changes, parse_space
from tune.trials.ledger import Ledger

if TYPE_CHECKING:
    from tune.search.search_plan import Search

_QUARTER = 4
# The probability that a setting is drawn again; otherwise it changes by the factor, or to a neighbouring value.
_RESAMPLED = 0.25
_FACTOR = 1.2
_TRIES = 20


class PopulationTrials:
    """Proposes trials, a generation at a time; writes `search.json` with each generation.

    Attributes:
        search: With the trials of every generation so far, member by member.
    """

    def __init__(self, search: Search, folder: Path) -> None:
        self.search = search
        self._folder, self._ledger = folder, Ledger(folder)
        self._space = parse_space(search.space, search.config)
        self._generations = math.ceil(search.config.schedule.last_epoch / search.interval)

    @property
    def configs(self) -> Sequence[RunConfig]:
        """The members of every generation so far, in order."""
        return self.search.configs()

    @property
    def open(self) -> Sequence[RunConfig]:
        """The last generation; failed members of earlier ones have no successors, so they are not run again."""
        return [self._config(changes) for changes in self._last()]

    @property
    def _generation(self) -> int:
        """The number of generations that have been proposed."""
        return len(self.search.trials) // self.search.samples

    @property
    def exhausted(self) -> bool:
        """Whether all generations have been proposed, or every member of the latest one failed."""
        return self._generation >= self._generations or self._all_failed()

    def _all_failed(self) -> bool:
        last = self._last()
        return bool(last) and all(self._status(changes) == "failed" for changes in last)

    def _last(self) -> tuple[Changes, ...]:
        return self.search.trials[-self.search.samples :] if self.search.trials else ()

    def ask(self) -> Sequence[RunConfig]:
        """The next generation, once every member of the last one has ended."""
        if self.exhausted or any(self._status(changes) is None for changes in self._last()):
            return ()
        members = self._next_generation() if self._generation else self._founders()
        self.search = replace(self.search, trials=(*self.search.trials, *members))
        self.search.write(self._folder)
        return [self._config(changes) for changes in members]

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        """Nothing to do: results are read from the ledger."""

    def _config(self, changes: Changes) -> RunConfig:
        return self.search.repeats(changes)[0]

    def _status(self, changes: Changes) -> str | None:
        record = self._ledger.read_done(self._config(changes))
        return None if record is None else str(record["status"])

    def _score(self, changes: Changes) -> float:
        """Validation accuracy after the last epoch; -1 if the member failed."""
        rows = self._ledger.metrics(self._config(changes)) if self._status(changes) == "done" else []
        return float(rows[-1]["validation_accuracy"]) if rows else -1.0

    def _until(self, generation: int) -> dict[str, Any]:
        """The epoch at which a generation ends; for the last one, that of the configuration."""
        epochs, schedule = self.search.interval * (generation + 1), self.search.config.schedule
        return {"schedule.stop_epoch": epochs if epochs < schedule.last_epoch else schedule.stop_epoch}

    def _founders(self) -> list[Changes]:
        config, count = self.search.config, self.search.samples
        drawn = [point for point in sample_space(self._space, config, count, config.seed) if self.search.fits(point)]
        # If the space has fewer points than there are members, several start from the same point with different seeds.
        seeds = {k: {"seed": config.seed + k // len(drawn)} for k in range(count)}
        return [drawn[k % len(drawn)] | (seeds[k] if k >= len(drawn) else {}) | self._until(0) for k in range(count)]

    def _next_generation(self) -> list[Changes]:
        last, generation = self._last(), self._generation
        ranked = sorted(range(len(last)), key=lambda k: (-self._score(last[k]), k))
        quarter = max(1, len(last) // _QUARTER) if len(last) > 1 else 0
        best = [k for k in ranked[:quarter] if self._score(last[k]) >= 0]
        poor = {k for k in ranked[len(last) - quarter :] if k not in best}
        poor |= {k for k in ranked if self._score(last[k]) < 0}
        members: list[Changes] = []
        for k in range(len(last)):
            successor = self._successor(last, k, best if k in poor else [k], generation, members)
            members.append(successor)
        return members

    def _successor(
        self, last: Sequence[Changes], k: int, origins: Sequence[int], generation: int, others: Sequence[Changes]
    ) -> Changes:
        rng = np.random.default_rng([self.search.config.seed, generation, k])
        origin = last[origins[int(rng.integers(len(origins)))]]
        kept = {path: value for path, value in origin.items() if path not in ("start_from", "schedule.stop_epoch")}
        start = {"start_from": fingerprint(self._config(origin))} | self._until(generation)
        if list(origins) == [k]:
            return kept | start
        for _ in range(_TRIES):
            changed = kept | {
                dimension.path: _explored(dimension, kept[dimension.path], rng)
                for dimension in self._space.dimensions
                if dimension.path in kept
            }
            if self.search.fits(changed) and changed | start not in others:
                return changed | start
        # No neighbouring configuration is new: use another seed, and so another shuffling of the samples.
        return kept | {"seed": self.search.config.seed + len(last) * generation + k + 1} | start


def _explored(dimension: Dimension, value: Any, rng: np.random.Generator) -> Any:
    """A value near the given one, or occasionally any value."""
    if rng.random() < _RESAMPLED:
        return dimension.at(rng.random())
    up = rng.random() < 0.5
    if isinstance(dimension, Choice):
        k = dimension.values.index(value) + (1 if up else -1)
        return dimension.values[min(max(k, 0), len(dimension.values) - 1)]
    moved = value * _FACTOR if up else value / _FACTOR
    if dimension.whole:
        moved = max(value + 1, round(moved)) if up else min(value - 1, round(moved))
    return dimension.tidy(moved)


def _runs(search: Search) -> int:
    return search.samples * math.ceil(search.config.schedule.last_epoch / search.interval)


PBT = SearchMethod(
    name="pbt",
    summary="population-based training, for training settings only",
    draw=sample_space,
    runs=_runs,
    source=PopulationTrials,
    default_samples=8,
    schedulers=("none",),
    several_objectives=False,
    repeats=False,
    generations=True,
    # What may change while a network trains.
    searchable=("optimiser.", "loss.", "network.dropout", "dataset.augmentation", "batch_size"),
    # A checkpoint has the state of one optimiser and its groups of parameters, and either averaged weights or none.
    fixed=("optimiser.name", "optimiser.weight_decay_of", "optimiser.ema_decay"),
    limits="Poor members of the population continue from better ones, ranked by accuracy.",
)
