"""The plan of a search: its space, its options, and the distinct configurations that it tries.

The folder of a search:
search.json    the plan, with every configuration
trials/        a run folder for each trial, with its done.json (`tune.trials.ledger`)
results.csv, epochs.csv, best.json, figures/    the results (`tune.search.search_findings`), rewritten as trials end
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pipeline.config.neurons import NEURONS, restore_traits, traits_entry
from pipeline.config.registrations import registrations
from pipeline.config.run_config import RunConfig, field_paths, from_dict, override, to_dict
from pipeline.config.surrogates import accept_stored
from pipeline.data.run_splits import split_for
from pipeline.presets.registry import PRESETS
from preprocess.datasets.emulated_names import is_emulated
from preprocess.errors import ConfigError, RunError, SpikeloomError, reason_of
from preprocess.files import read_json, write_json
from preprocess.json_types import misfit
from preprocess.store.imported_frames import DataFile, check_input, open_dataset
from tune.objective.objective_folder import refuse_objective
from tune.search.options import SCHEDULERS, SearchOptions
from tune.search.pareto import OBJECTIVES
from tune.search.registry import find_method
from tune.search.search_method import SearchMethod
from tune.space.parser import SPLIT_DRAWS
from tune.space.space import Changes, Space, parse_space

FILE = "search.json"

_ELSEWHERE = "Start the search again in another folder."


@dataclass(frozen=True)
class SearchData:
    """The data that the trials train and are ranked on.

    Attributes:
        emulated: Whether an emulator made the recordings; tables and figures say so.
        train: Number of training samples.
        validation: Number of validation samples, which rank the trials.
    """

    emulated: bool
    train: int
    validation: int


class _DataJson(TypedDict):
    emulated: bool
    train: int
    validation: int


class SearchJson(TypedDict):
    """The content of `search.json`."""

    name: str
    config: dict[str, Any]
    space: list[str]
    fields: list[str]
    trials: list[dict[str, Any]]
    scheduler: str
    cache: str
    data: _DataJson
    method: NotRequired[str]
    samples: NotRequired[int]
    seeds: NotRequired[list[int]]
    objectives: NotRequired[list[str]]
    interval: NotRequired[int]
    final_seeds: NotRequired[int]
    traits: NotRequired[dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Search:
    """The plan of a search.

    Attributes:
        name: The preset, or whatever else names the configuration.
        config: The values that all trials share.
        space: The entries of `--space`, with files and named spaces written out.
        fields: The searched field paths.
        trials: What each trial changes in the configuration, in the order in which they start; for an adaptive method
            those that have been proposed so far.
        scheduler: asha or none.
        cache: The folder of all caches.
        data: The data that the trials train and are ranked on.
        method: The name of the search method (`tune.search.registry`).
        samples: The maximum number of configurations, 0 for a complete grid; for pbt the size of the population.
        seeds: Every configuration runs once with each of these seeds.
        objectives: The objectives by which trials are ranked; several have a Pareto front instead of a best trial.
        interval: Epochs of a generation; 0 for methods without generations.
        final_seeds: The number of seeds with which the selected configuration is retrained and tested; 0 does not use
            the test set.
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
        """Whether a trial with these changes is valid, and there are enough training samples for a batch of it."""
        try:
            return override(self.config, changes).batches_per_epoch(self.data.train) > 0
        except ConfigError:
            return False

    @property
    def traits(self) -> SearchMethod:
        """The traits of its search method."""
        return find_method(self.method)

    @property
    def runs(self) -> int:
        """The maximum number of runs."""
        return self.traits.runs(self)

    @property
    def about(self) -> str:
        """Data set and split, and that the data are emulated if they are."""
        dataset = self.config.dataset
        return f"{dataset.name}, {dataset.split_title} split{' (emulated data)' if self.data.emulated else ''}"

    def to_dict(self) -> dict[str, Any]:
        """The content of `search.json`."""
        return {
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
            **traits_entry(config.neuron.name for config in self.configs()),
        }

    @classmethod
    def from_dict(cls, plan: Mapping[str, Any]) -> Search:
        """The inverse of `to_dict`; entries that earlier versions did not write have their defaults.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, SpikeloomError: If the content is damaged.
        """
        if (message := misfit(plan, SearchJson)) is not None:
            raise ValueError(message)
        restore_traits(plan.get("traits", {}))
        for changes in plan["trials"]:
            accept_stored(str(changes.get("neuron.surrogate", "rect")))
        search = cls(
            name=plan["name"],
            config=from_dict(plan["config"]),
            space=tuple(plan["space"]),
            fields=tuple(plan["fields"]),
            trials=tuple(plan["trials"]),
            scheduler=plan["scheduler"],
            cache=Path(plan["cache"]),
            data=SearchData(**plan["data"]),
            method=plan.get("method", "random"),
            samples=plan.get("samples", 0),
            seeds=tuple(plan.get("seeds", ())),
            objectives=tuple(plan.get("objectives", ("accuracy",))),
            interval=plan.get("interval", 0),
            final_seeds=plan.get("final_seeds", 0),
        )
        if not (search.trials or search.traits.adaptive) or search.scheduler not in SCHEDULERS:
            raise ValueError(f"{len(search.trials)} trials, method {search.method}, scheduler {search.scheduler}")
        unknown = [*(set(search.fields) - set(field_paths())), *(set(search.objectives) - set(OBJECTIVES))]
        if unknown or not search.objectives or min(search.data.train, search.data.validation) < 1:
            raise ValueError(f"fields {search.fields}, objectives {search.objectives}, {search.data}")
        search.configs()
        return search

    def write(self, folder: Path) -> None:
        """Write `search.json` atomically."""
        write_json(folder / FILE, self.to_dict())


def read_search(folder: Path) -> Search:
    """The plan of a search's folder.

    Raises:
        RunError: If the folder is not a search, or its `search.json` is damaged.
    """
    path = folder / FILE
    plan = read_json(path, next_step=_ELSEWHERE)
    if plan is None:
        refuse_objective(folder)
        raise RunError(f"{folder}: expected a search (with {FILE}), found none. Start one: spikeloom tune PRESET")
    try:
        return Search.from_dict(plan)
    except (KeyError, TypeError, ValueError, AttributeError, SpikeloomError) as error:
        raise RunError(f"{path}: damaged ({reason_of(error)}). {_ELSEWHERE}") from None


def plan_search(name: str, config: RunConfig, options: SearchOptions, cache: Path) -> Search:
    """Plan a search with the configuration's own seed, and draw its trials if they do not depend on each other.

    Trials are ranked on validation samples taken from the training set, regardless of `config.selection`: the test set
    is not used.

    Args:
        name: The preset, or whatever else names the configuration.
        config: The values that all trials share.
        options: The options of the search.
        cache: The folder of all caches.

    Raises:
        ConfigError: With every error in the options and the space; or if the split does not exist for the data set,
            there are fewer training samples than a batch, or a neuron or network does not exist.
        CacheError: If there is no event store.
    """
    errors = list(options.errors())
    if config.start_from is not None:
        errors.append(
            "start_from: expected none, because the trials of a search start from initial weights, found "
            f"{config.start_from}. Leave it out; a single run accepts it: spikeloom train --start-from RUN"
        )
    config = override(config, {"selection": "validation"})
    try:
        space = parse_space(options.space, config)
        errors += [
            f"--space {path}: expected a field whose values can be ranked: trials that differ in it are scored on "
            f"different samples. Run one search for each value, or compare: spikeloom compare --over {path}=..."
            for path in SPLIT_DRAWS
            if path in space.fields
        ]
        errors += options.space_errors(space)
    except ConfigError as error:
        errors += error.errors
    if errors:
        raise ConfigError(*dict.fromkeys(errors))
    store = open_dataset(cache, config.dataset.name)
    method = find_method(options.method)
    samples = options.chosen_samples()
    drawn = method.draw(space, config, samples, config.seed)
    search = Search(
        name=name,
        config=config,
        space=space.entries,
        fields=space.fields,
        trials=() if method.adaptive else tuple(drawn),
        scheduler=options.chosen_scheduler(),
        cache=cache,
        data=_describe_data(config, store),
        method=options.method,
        samples=samples,
        seeds=tuple(range(config.seed, config.seed + options.repeats)),
        objectives=tuple(options.objectives),
        interval=options.chosen_interval(config),
        final_seeds=options.final_seeds,
    )
    errors = [*_binning_errors(search, drawn, store), *_size_errors(search, drawn), *_name_errors(search, space, store)]
    if errors:
        raise ConfigError(*dict.fromkeys(errors))
    return search


def _describe_data(config: RunConfig, store: DataFile) -> SearchData:
    splits = split_for(config, store)
    return SearchData(is_emulated(store.dataset), len(splits.train), len(splits.validation))


def _binning_errors(search: Search, drawn: Sequence[Changes], store: DataFile) -> Iterator[str]:
    """Binnings, sources and encodings that the data set does not have: its frames were imported, or are images."""
    for config in [search.config, *(override(search.config, changes) for changes in drawn)]:
        try:
            check_input(store, config.dataset.name, config.binning, config.input.source, config.input.encoding)
        except ConfigError as error:
            yield from error.errors


def _size_errors(search: Search, drawn: Sequence[Changes]) -> Iterator[str]:
    """Batches that the training set does not fill; an adaptive search leaves them out, as long as others fit."""
    if search.traits.adaptive and any(search.fits(changes) for changes in drawn):
        return
    configs = (override(search.config, changes) for changes in drawn)
    empty = [config.batch_size for config in configs if not config.batches_per_epoch(search.data.train)]
    for size in dict.fromkeys(empty):
        yield f"batch_size: expected at most the {search.data.train} training samples, found {size}"


def _name_errors(search: Search, space: Space, store: DataFile) -> Iterator[str]:
    """Neurons and networks that do not exist or cannot train, found before the first trial instead of by each one.

    Torch takes seconds to load, so networks of presets and neurons that run on every backend are not checked.
    """
    known = {preset.config.network.name for preset in PRESETS.values()}
    known |= {name for name, neuron in NEURONS.items() if neuron.traits.fused}
    known -= {one.name for one in registrations()}
    asked = {path: [getattr(search.config, path.split(".")[0]).name] for path in ("network.name", "neuron.name")}
    asked |= {part.path: list(part.values) for part in space.dimensions if part.path in asked}
    if set(itertools.chain(*asked.values())) <= known:
        return
    from tune.trials.custom_code import check_classes

    configured = False
    for network, neuron in itertools.product(*asked.values()):
        if {network, neuron} <= known:
            configured = True
            continue
        try:
            config = override(search.config, {"network.name": network, "neuron.name": neuron})
            configured |= check_classes(config, store)
        except ConfigError as error:
            configured = True
            yield from error.errors
    if not configured:
        # All trials would train the same network.
        yield from (
            f"--space {part.path}: expected a field that affects the network, found '{search.config.network.name}', "
            "which makes all its spiking layers itself. Leave the field out, or let the network make them with "
            "make_neuron."
            for part in space.dimensions
            if part.path.startswith("neuron.")
        )
