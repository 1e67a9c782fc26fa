"""What a search was asked for: distinct configurations of a space, drawn before the first trial.

A search's folder:
search.json    what was asked for, with every configuration
trials/        a run folder each, with its done.json (`tune.ledger`)
results.csv, epochs.csv, best.json, figures/    what came of it (`tune.findings`), written anew as trials end
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from pipeline.config import RunConfig, from_dict, override, to_dict
from pipeline.presets import PRESETS
from pipeline.runs import read_json, write_json
from preprocess.errors import ConfigError, RunError, SpikeloomError
from preprocess.event_store import EventStore, events_path, open_events
from preprocess.splits import split_samples
from tune.space import NEURONS, Changes, parse_space, sample_space

FILE = "search.json"
SCHEDULERS = ("asha", "none")


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
        space: The words of `--space`.
        fields: The searched field paths.
        trials: What each trial changes in the configuration, in the order in which they start.
        scheduler: asha, or none.
        cache: The folder of all caches.
        data: What the trials learn from.
    """

    name: str
    config: RunConfig
    space: tuple[str, ...]
    fields: tuple[str, ...]
    trials: tuple[Changes, ...]
    scheduler: str
    cache: Path
    data: SearchData = field(repr=False)

    def configs(self) -> list[RunConfig]:
        """Every trial's configuration."""
        return [override(self.config, changes) for changes in self.trials]

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
        )
        if not search.trials or search.scheduler not in SCHEDULERS:
            raise ValueError("no trials" if not search.trials else f"scheduler {search.scheduler}")
        search.configs()
    except (KeyError, TypeError, ValueError, AttributeError, SpikeloomError) as error:
        raise RunError(f"{path}: damaged ({error!r}). Start the search again in another folder.") from None
    return search


def plan_search(
    name: str, config: RunConfig, space: Sequence[str], samples: int, scheduler: str, cache: Path
) -> Search:
    """Draw the trials of a search, with the configuration's own seed.

    Trials are ranked on validation samples taken from the training set, whatever the configuration selects by: the test
    samples stay closed.

    Args:
        name: The preset, or what else names the configuration.
        config: What all trials share.
        space: The words of `--space`.
        samples: How many trials at most; a smaller space is tried in full.
        scheduler: asha, or none.
        cache: The folder of all caches.

    Raises:
        ConfigError: With every fault of the space; or if the split does not exist for the data set, it has fewer
            training samples than a batch, or a neuron or network does not exist.
        CacheError: If there is no event store.
    """
    config = override(config, {"selection": "validation"})
    dimensions = parse_space(space, config)
    trials = sample_space(dimensions, config, samples, config.seed)
    fields = tuple(dimension.path for dimension in dimensions)
    store = open_events(events_path(cache, config.dataset.name))
    search = Search(name, config, tuple(space), fields, tuple(trials), scheduler, cache, _describe_data(config, store))
    faults = [*_size_faults(search), *_name_faults(search.configs(), store)]
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    return search


def _describe_data(config: RunConfig, store: EventStore) -> SearchData:
    dataset = config.dataset
    splits = split_samples(
        store.samples, dataset.name, dataset.split, dataset.validation_fraction, config.selection, store.classes
    )
    return SearchData(store.dataset.startswith("emulated-"), len(splits.train), len(splits.validation))


def _size_faults(search: Search) -> Iterator[str]:
    for config in search.configs():
        if config.batch_size > search.data.train:
            yield f"batch_size: expected at most the {search.data.train} training samples, found {config.batch_size}"


def _name_faults(configs: Sequence[RunConfig], store: EventStore) -> Iterator[str]:
    """Neurons and networks that do not exist: told before the first trial, not by each of them.

    Torch takes seconds to load, so names that presets use are taken for granted.
    """
    known = {preset.config.network.name for preset in PRESETS.values()} | set(NEURONS)
    strange = {}
    for config in configs:
        if not {config.network.name, config.neuron.name} <= known:
            strange[config.network.name, config.neuron.name] = config
    if not strange:
        return
    from pipeline.inputs import input_size
    from pipeline.networks import build_network
    from pipeline.neurons import make_neuron

    for config in strange.values():
        size = input_size(config.input, *config.binning.size(store.height, store.width))
        build = partial(
            build_network, channels=2, classes=len(store.classes), size=size, timesteps=config.binning.timesteps, seed=0
        )
        # The neuron by itself first: a network that does not exist would hide its fault.
        for make in (partial(make_neuron, config.neuron), partial(build, config.network, config.neuron)):
            try:
                make()
            except ConfigError as error:
                yield from error.faults
