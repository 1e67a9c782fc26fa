"""What a search was asked for: distinct configurations of a space, drawn before the first trial.

A search's folder:
search.json    what was asked for, with every configuration
trials/        a run folder each, with its done.json (`tune.trials.ledger`)
results.csv, epochs.csv, best.json, figures/    what came of it (`tune.search.results`), written anew as trials end
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from pipeline.config.run_config import RunConfig, from_dict, override, to_dict
from pipeline.data.run_splits import split_for
from pipeline.presets.registry import PRESETS
from preprocess.datasets.emulated_names import is_emulated
from preprocess.errors import ConfigError, RunError, SpikeloomError
from preprocess.files import read_json, write_json
from preprocess.store.event_store import EventStore, events_path, open_events
from tune.search.options import DEFAULT_SAMPLES, METHODS, SCHEDULERS, SearchWords
from tune.search.random_and_grid import grid_space, sample_space
from tune.space.named_spaces import NEURONS
from tune.space.space import Changes, Space, parse_space

FILE = "search.json"


@dataclass(frozen=True)
class SearchData:
    """What the trials learn from.

    Attributes:
        emulated: Whether an emulator made the recordings; tables and figures say so.
        train: Samples that train.
        validation: Samples that rank the trials.
    """

    emulated: bool
    train: int
    validation: int


@dataclass(frozen=True)
class Search:
    """What a search was asked for.

    Attributes:
        name: The preset, or what else names the configuration.
        config: What all trials share.
        space: The words of `--space`, files and named spaces spelled out.
        fields: The searched field paths.
        trials: What each trial changes in the configuration, in the order in which they start; of tpe and pbt those
            that were asked for so far.
        scheduler: asha, or none.
        cache: The folder of all caches.
        data: What the trials learn from.
        method: random (a Latin hypercube), grid, tpe or pbt.
        samples: How many configurations at most; of pbt, how many are trained side by side.
        seeds: One run of every configuration for each.
        objectives: What they are ranked by; several have a Pareto front in place of a best.
        interval: Epochs after which pbt looks who goes on from whom.
        final_seeds: How many times the choice is trained anew and tested; 0 leaves the test samples closed.
    """

    name: str
    config: RunConfig
    space: tuple[str, ...]
    fields: tuple[str, ...]
    trials: tuple[Changes, ...]
    scheduler: str
    cache: Path
    data: SearchData = field(repr=False)
    method: str = "random"
    samples: int = 0
    seeds: tuple[int, ...] = ()
    objectives: tuple[str, ...] = ("accuracy",)
    interval: int = 0
    final_seeds: int = 0

    def configs(self) -> list[RunConfig]:
        """Every run's configuration, trial by trial."""
        return [config for changes in self.trials for config in self.repeats(changes)]

    def repeats(self, changes: Changes) -> list[RunConfig]:
        """The runs of a trial, one for each seed."""
        return [override(self.config, {"seed": seed} | changes) for seed in self.seeds or (self.config.seed,)]

    def fits(self, changes: Changes) -> bool:
        """Whether a trial of these changes is a valid configuration of which the data fill a batch."""
        try:
            return override(self.config, changes).batch_size <= self.data.train
        except ConfigError:
            return False

    @property
    def grows(self) -> bool:
        """Whether trials are asked for one after another, by what came of the earlier ones."""
        return self.method in ("tpe", "pbt")

    @property
    def runs(self) -> int:
        """How many runs there will be at most."""
        repeats = max(1, len(self.seeds))
        if self.method == "pbt":
            return self.samples * math.ceil(self.config.schedule.last_epoch / self.interval)
        return repeats * (self.samples if self.method == "tpe" else len(self.trials))

    @property
    def about(self) -> str:
        """Data set and split, and that the data are emulated where they are."""
        dataset = self.config.dataset
        return f"{dataset.name}, {dataset.split_title} split{' (emulated data)' if self.data.emulated else ''}"

    def write(self, folder: Path) -> None:
        """Write `search.json`, whole or not at all."""
        asked = {
            "name": self.name,
            "space": list(self.space),
            "fields": list(self.fields),
            "scheduler": self.scheduler,
            "selection": self.config.selection,
            "cache": str(self.cache),
            "data": asdict(self.data),
            "method": self.method,
            "samples": self.samples,
            "seeds": list(self.seeds),
            "objectives": list(self.objectives),
            "interval": self.interval,
            "final_seeds": self.final_seeds,
            "config": to_dict(self.config),
            "trials": list(self.trials),
        }
        write_json(folder / FILE, asked)


def read_search(folder: Path) -> Search:
    """What a search's folder was asked for.

    Raises:
        RunError: If it is no search, or its `search.json` is damaged.
    """
    path = folder / FILE
    asked = read_json(path)
    if asked is None:
        raise RunError(f"{folder}: expected a search (with {FILE}), found none. Start one: spikeloom tune PRESET")
    try:
        search = Search(
            str(asked["name"]),
            from_dict(asked["config"]),
            tuple(asked["space"]),
            tuple(asked["fields"]),
            tuple(asked["trials"]),
            str(asked["scheduler"]),
            Path(asked["cache"]),
            SearchData(**asked["data"]),
            str(asked.get("method", "random")),
            int(asked.get("samples", 0)),
            tuple(int(seed) for seed in asked.get("seeds", ())),
            tuple(str(name) for name in asked.get("objectives", ("accuracy",))),
            int(asked.get("interval", 0)),
            int(asked.get("final_seeds", 0)),
        )
        if not (search.trials or search.grows) or search.scheduler not in SCHEDULERS or search.method not in METHODS:
            raise ValueError(f"{len(search.trials)} trials, method {search.method}, scheduler {search.scheduler}")
        search.configs()
    except (KeyError, TypeError, ValueError, AttributeError, SpikeloomError) as error:
        raise RunError(f"{path}: damaged ({error!r}). Start the search again in another folder.") from None
    return search


def plan_search(name: str, config: RunConfig, words: SearchWords, cache: Path) -> Search:
    """Plan a search, with the configuration's own seed; draw its trials where they do not depend on each other.

    Trials are ranked on validation samples taken from the training set, whatever the configuration selects by: the test
    samples stay closed.

    Args:
        name: The preset, or what else names the configuration.
        config: What all trials share.
        words: How to search.
        cache: The folder of all caches.

    Raises:
        ConfigError: With every fault of the words and the space; or if the split does not exist for the data set, it
            has fewer training samples than a batch, or a neuron or network does not exist.
        CacheError: If there is no event store.
    """
    errors = list(words.errors())
    if config.start_from is not None:
        errors.append(
            f"start_from: expected none, because the trials of a search begin anew, found {config.start_from}. Leave "
            "it out; a single run takes it: spikeloom train --start-from RUN"
        )
    config = override(config, {"selection": "validation"})
    try:
        space = parse_space(words.space, config)
        errors += words.space_errors(space)
    except ConfigError as error:
        errors += error.errors
    if errors:
        raise ConfigError(*errors)
    store = open_events(events_path(cache, config.dataset.name))
    samples = words.samples or DEFAULT_SAMPLES.get(words.method, 0)
    drawn = _draw(words, space, config, samples)
    search = Search(
        name,
        config,
        space.words,
        space.fields,
        tuple(drawn) if words.method in ("random", "grid") else (),
        words.plain_scheduler(),
        cache,
        _describe_data(config, store),
        words.method,
        samples,
        tuple(range(config.seed, config.seed + words.repeats)),
        tuple(words.objectives),
        (words.interval or max(1, config.schedule.epochs // 10)) if words.method == "pbt" else 0,
        words.final_seeds,
    )
    errors = [*_size_errors(search, drawn), *_name_errors(search, space, store)]
    if errors:
        raise ConfigError(*dict.fromkeys(errors))
    return search


def _draw(words: SearchWords, space: Space, config: RunConfig, samples: int) -> list[Changes]:
    """The trials, where they are known beforehand; where they are asked for, a draw shows that there are valid ones."""
    if words.method != "grid":
        return sample_space(space, config, samples, config.seed)
    points = grid_space(space, config)
    if words.samples is None:
        return points
    # Spread over the grid: the first in order would have but one value of the first field.
    return [points[k] for k in np.random.default_rng(config.seed).permutation(len(points))[:samples]]


def _describe_data(config: RunConfig, store: EventStore) -> SearchData:
    splits = split_for(config, store)
    return SearchData(is_emulated(store.dataset), len(splits.train), len(splits.validation))


def _size_errors(search: Search, drawn: Sequence[Changes]) -> Iterator[str]:
    """Batches that the data do not fill; where trials are asked for, those are left out as long as some fit."""
    sizes = dict.fromkeys(override(search.config, changes).batch_size for changes in drawn)
    if search.grows and min(sizes) <= search.data.train:
        return
    for size in sizes:
        if size > search.data.train:
            yield f"batch_size: expected at most the {search.data.train} training samples, found {size}"


def _name_errors(search: Search, space: Space, store: EventStore) -> Iterator[str]:
    """Neurons and networks that do not exist or cannot train: said before the first trial, not by each of them.

    Torch takes seconds to load, so names that presets use are taken for granted.
    """
    known = {preset.config.network.name for preset in PRESETS.values()} | set(NEURONS)
    asked = {path: [getattr(search.config, path.split(".")[0]).name] for path in ("network.name", "neuron.name")}
    asked |= {part.path: list(part.values) for part in space.dimensions if part.path in asked}
    if set(itertools.chain(*asked.values())) <= known:
        return
    from tune.trials.own_classes import check_classes

    for network, neuron in itertools.product(*asked.values()):
        if {network, neuron} <= known:
            continue
        try:
            config = override(search.config, {"network.name": network, "neuron.name": neuron})
            check_classes(config, store)
        except ConfigError as error:
            yield from error.errors
