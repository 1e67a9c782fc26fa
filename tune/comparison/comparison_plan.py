"""A comparison's folder: what was declared, and the outcome of each of its runs.

comparison.json    the declaration before the first run, and later additions
trials/            one run folder per run, with its done.json (`tune.trials.ledger`)
tuning/            one search folder per arm and setting, if the arms were tuned first
                   (`tune.comparison.tuning_per_neuron`)
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from pipeline.config.neurons import restore_traits, traits_entry
from pipeline.config.run_config import PLACE_FIELDS, RunConfig, fingerprint, flatten, from_dict, override, to_dict
from pipeline.config.surrogates import accept_stored
from pipeline.runs.result_json import ResultJson
from pipeline.runs.run_folder import Run, open_run
from preprocess.errors import RunError, SpikeloomError, reason_of
from preprocess.files import read_json, write_json
from preprocess.json_types import misfit
from tune.comparison.arms import Arm, Changes, Setting, neuron_arm, parts_of
from tune.comparison.comparison_defaults import SPEED_AT
from tune.comparison.run_validation import check_run
from tune.trials.ledger import Ledger

FILE = "comparison.json"
VERSION = 2

_ELSEWHERE = "Start the comparison again in another folder."

PRIMARY_METRIC = "test_accuracy"
STOPPING_RULE = "the number of seeds is declared in advance, whatever the results; later additions are listed"


@dataclass(frozen=True)
class Tuning:
    """The protocol by which each arm is tuned in every setting before its seeds run.

    Attributes:
        space: Entries of the search space; () tunes nothing: equal settings for all arms, as in the paper.
        trials: The number of trials per arm; None for the complete grid.
    """

    space: tuple[str, ...] = ()
    trials: int | None = None


@dataclass(frozen=True)
class AutoEpochs:
    """Training until every run has converged: the epochs of all runs are doubled until then.

    Attributes:
        most: The largest number of epochs of a run.
        factor: The present number of epochs divided by that of the first round: 1, 2, 4, ...
    """

    most: int
    factor: int = 1


class _ArmJson(TypedDict):
    name: str
    changes: dict[str, Any]
    begins: dict[str, Any] | None
    seed_offset: int


class _SettingJson(TypedDict):
    name: str
    place: dict[str, Any]
    config: dict[str, Any]


class _TuningJson(TypedDict):
    space: list[str]
    trials: int | None


class _TunedJson(TypedDict):
    setting: str
    arm: str
    changes: dict[str, Any]


class _AutoEpochsJson(TypedDict):
    most: int
    factor: int


class _DeclaredJson(TypedDict):
    at: str
    runs_done: int
    arms: list[str]
    seeds: list[int]


class ComparisonJson(TypedDict):
    """The content of `comparison.json`; earlier versions had fewer entries."""

    name: str
    arms: list[_ArmJson]
    seeds: list[int]
    tuning: _TuningJson
    tuned: list[_TunedJson]
    margin: NotRequired[float | None]
    speed_at: NotRequired[float]
    auto_epochs: NotRequired[_AutoEpochsJson | None]
    declared: list[_DeclaredJson]
    cache: str
    settings: list[_SettingJson]
    traits: NotRequired[dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Comparison:
    """Arms in settings, paired by seed.

    Attributes:
        name: The name of the preset, the design or the configuration.
        settings: At least one.
        arms: At least two; the first is the baseline.
        seeds: Each arm has one run per seed in each setting.
        cache: The folder of all caches.
        tuning: The fields that are tuned for each arm first.
        tuned: The tuned values, by setting's and arm's name.
        declared: One entry for the first declaration and each addition: when, arms, seeds, and the runs done by then.
        margin: The largest difference of accuracies that does not matter, a fraction; None declares none.
        speed_at: The training accuracy, a fraction, at which the speed of learning is read.
        auto: Whether and how far epochs are doubled; the settings have the present number. None trains as configured.
    """

    name: str
    settings: tuple[Setting, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    cache: Path
    tuning: Tuning = Tuning()
    tuned: Mapping[tuple[str, str], Changes] = field(default_factory=dict)
    declared: tuple[Mapping[str, Any], ...] = ()
    margin: float | None = None
    speed_at: float = SPEED_AT
    auto: AutoEpochs | None = None

    def parts_of(self, setting: Setting, arm: Arm, seed: int) -> list[RunConfig]:
        """The runs of one arm with one seed, each starting from the one before."""
        return parts_of(setting, arm, seed, self.tuned.get((setting.name, arm.name), {}))

    def config_of(self, setting: Setting, arm: Arm, seed: int) -> RunConfig:
        """The run that is compared: within a seed only the arm differs."""
        return self.parts_of(setting, arm, seed)[-1]

    def configs(self) -> list[RunConfig]:
        """Every run that is compared, seed by seed, so that an interrupted comparison leaves complete pairs.

        Two settings that differ only in fields without effect on an arm share its run.
        """
        return _once(self.config_of(setting, arm, seed) for seed in self.seeds for setting, arm in self.cells())

    def first_parts(self) -> list[RunConfig]:
        """The runs from which exchanged neurons start."""
        parts = (self.parts_of(setting, arm, seed) for seed in self.seeds for setting, arm in self.cells())
        return _once(part for every in parts for part in every[:-1])

    def cells(self) -> list[tuple[Setting, Arm]]:
        """Every setting with every arm."""
        return [(setting, arm) for setting in self.settings for arm in self.arms]

    @property
    def longest(self) -> int:
        """The largest number of epochs of a run."""
        return max(setting.config.schedule.last_epoch for setting in self.settings)

    @property
    def equally_long(self) -> bool:
        """Whether all settings have the same number of epochs."""
        return len({setting.config.schedule.last_epoch for setting in self.settings}) == 1

    @property
    def added_arms(self) -> tuple[str, ...]:
        """The names of the arms that were added after some of the first ones' runs were done."""
        before: set[str] = set()
        added: list[str] = []
        for entry in self.declared:
            if entry["runs_done"]:
                added += [name for name in entry["arms"] if name not in before]
            before.update(entry["arms"])
        return tuple(added)

    def stretched(self, factor: int) -> Comparison:
        """The same comparison with all epochs multiplied, or divided by -factor, for `auto`."""
        assert self.auto is not None
        settings = tuple(replace(part, config=_stretch(part.config, factor)) for part in self.settings)
        now = self.auto.factor * factor if factor > 0 else self.auto.factor // -factor
        return replace(self, settings=settings, auto=replace(self.auto, factor=now))

    def first_round(self) -> Comparison:
        """The comparison as declared, before any doubling of its epochs."""
        return self if self.auto is None else self.stretched(-self.auto.factor)

    def round_before(self) -> Comparison | None:
        """The comparison with half of the epochs; None if they were not doubled."""
        return self.stretched(-2) if self.auto is not None and self.auto.factor > 1 else None

    @property
    def labels(self) -> list[str]:
        """The arms as tables name them, in their order."""
        return [arm.label for arm in self.arms]

    @property
    def axes(self) -> list[str]:
        """The field paths in which the settings differ."""
        flat = [flatten(setting.config) for setting in self.settings]
        paths = (path for path in flat[0] if path not in PLACE_FIELDS)
        return [path for path in paths if any(row[path] != flat[0][path] for row in flat)]

    @property
    def datasets(self) -> list[str]:
        """The names of the data sets, each once."""
        return list(dict.fromkeys(setting.config.dataset.name for setting in self.settings))

    def declare(self, done: int) -> Comparison:
        """The comparison with an entry for its present arms and seeds, unless the last entry is the same.

        Args:
            done: The number of runs that are done.
        """
        present = {"arms": [arm.name for arm in self.arms], "seeds": list(self.seeds)}
        if self.declared and {name: self.declared[-1][name] for name in present} == present:
            return self
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        return replace(self, declared=(*self.declared, {"at": now, "runs_done": done} | present))

    def write(self, folder: Path) -> None:
        """Write `comparison.json` atomically."""
        tuned = [
            {"setting": setting, "arm": arm, "changes": dict(changes)} for (setting, arm), changes in self.tuned.items()
        ]
        content: dict[str, Any] = {
            "version": VERSION,
            "name": self.name,
            "arms": [
                {
                    "name": arm.name,
                    "changes": dict(arm.changes),
                    "begins": None if arm.begins is None else dict(arm.begins),
                    "seed_offset": arm.seed_offset,
                }
                for arm in self.arms
            ],
            "seeds": list(self.seeds),
            "primary_metric": PRIMARY_METRIC,
            "stopping_rule": STOPPING_RULE,
            "tuning": {"space": list(self.tuning.space), "trials": self.tuning.trials},
            "tuned": tuned,
            "margin": self.margin,
            "speed_at": self.speed_at,
            "auto_epochs": None if self.auto is None else {"most": self.auto.most, "factor": self.auto.factor},
            "declared": [dict(entry) for entry in self.declared],
            "cache": str(self.cache),
            "settings": [
                {"name": setting.name, "place": dict(setting.place), "config": to_dict(setting.config)}
                for setting in self.settings
            ],
            **traits_entry(config.neuron.name for config in self.configs()),
        }
        write_json(folder / FILE, content)


def _once(configs: Iterable[RunConfig]) -> list[RunConfig]:
    return list({fingerprint(config): config for config in configs}.values())


def _stretch(config: RunConfig, factor: int) -> RunConfig:
    """The configuration with its schedule stretched to factor times as many epochs, or compressed by -factor."""
    fields = ("epochs", "warmup_epochs", "step_epochs")
    values = {name: getattr(config.schedule, name) for name in fields}
    return override(
        config,
        {f"schedule.{name}": value * factor if factor > 0 else value // -factor for name, value in values.items()},
    )


def compare_neurons(
    name: str, config: RunConfig, neurons: Sequence[str], seeds: Sequence[int], cache: Path
) -> Comparison:
    """The comparison of neurons in one setting."""
    return Comparison(name, (Setting("", config),), tuple(map(neuron_arm, neurons)), tuple(seeds), cache)


def read_comparison(folder: Path) -> Comparison:
    """The comparison that a folder records.

    Raises:
        RunError: If it is not a comparison's folder, or its `comparison.json` is damaged or of another version.
    """
    path = folder / FILE
    content = read_json(path, next_step=_ELSEWHERE)
    if content is None:
        hint = "Start one: spikeloom compare PRESET"
        raise RunError(f"{folder}: expected a comparison (with {FILE}), found none. {hint}")
    # Version 1 had one configuration and no version field.
    version = content.get("version", 1 if "config" in content else None)
    if version not in (VERSION, None):
        raise RunError(f"{path}: expected version {VERSION}, found {version}. {_ELSEWHERE}")
    try:
        if (message := misfit(content, ComparisonJson)) is not None:
            raise ValueError(message)
        restore_traits(content.get("traits", {}))
        found = Comparison(
            content["name"],
            tuple(Setting(part["name"], from_dict(part["config"]), part["place"]) for part in content["settings"]),
            tuple(Arm(part["name"], part["changes"], part["begins"], part["seed_offset"]) for part in content["arms"]),
            tuple(content["seeds"]),
            Path(content["cache"]),
            Tuning(tuple(content["tuning"]["space"]), content["tuning"]["trials"]),
            {(part["setting"], part["arm"]): part["changes"] for part in content["tuned"]},
            tuple(content["declared"]),
            # Earlier versions declared none of these.
            content.get("margin"),
            content.get("speed_at", SPEED_AT),
            None if content.get("auto_epochs") is None else AutoEpochs(**content["auto_epochs"]),
        )
        counts = len(found.settings), len(found.arms), len(found.seeds)
        if 0 in counts or (found.auto is not None and found.auto.factor < 1):
            raise ValueError(f"{counts} settings, arms and seeds, auto_epochs {found.auto}")
        if not all(isinstance(arm.changes["neuron.name"], str) for arm in found.arms):
            raise ValueError("an arm without a neuron")
        for changes in (
            *found.tuned.values(),
            *(changes for arm in found.arms for changes in (arm.changes, arm.begins)),
        ):
            accept_stored(str((changes or {}).get("neuron.surrogate", "rect")))
        # Seeds differ in nothing that could be refused.
        for setting, arm in found.cells():
            found.config_of(setting, arm, found.seeds[0])
        return found
    except (KeyError, TypeError, ValueError, AttributeError, SpikeloomError) as error:
        raise RunError(f"{path}: damaged ({reason_of(error)}). {_ELSEWHERE}") from None


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome of one run of a comparison: the run, or the reason why it is missing."""

    setting: str
    arm: str
    seed: int
    run: Run | None = None
    missing: str = ""

    @property
    def result(self) -> ResultJson:
        """The result of a run that is not missing."""
        assert self.run is not None and self.run.result is not None
        return self.run.result

    @property
    def diverged(self) -> bool:
        """Whether its loss became infinite or NaN."""
        return "expected a finite loss" in self.missing


Outcomes = Mapping[tuple[str, str, int], Outcome]
"""The outcomes by setting's name, arm's name and seed."""


def read_outcomes(comparison: Comparison, folder: Path) -> dict[tuple[str, str, int], Outcome]:
    """The outcome of every run, including those that failed, are damaged or have not run yet."""
    found = _outcomes(comparison, folder)
    return {(outcome.setting, outcome.arm, outcome.seed): outcome for outcome in found}


def _outcomes(comparison: Comparison, folder: Path) -> Iterator[Outcome]:
    ledger = Ledger(folder)
    for seed in comparison.seeds:
        for setting, arm in comparison.cells():
            where = setting.name, arm.name, seed
            config = comparison.config_of(setting, arm, seed)
            try:
                record = ledger.read_done(config)
                if record is None:
                    yield Outcome(*where, missing="not run yet")
                elif record["status"] != "done":
                    yield Outcome(*where, missing=f"{record['status']}: {record.get('error') or 'no cause kept'}")
                else:
                    run = open_run(ledger.trial_folder(config))
                    check_run(run, config)
                    yield Outcome(*where, run=run)
            except (SpikeloomError, KeyError) as error:
                yield Outcome(*where, missing=f"damaged: {error}")
