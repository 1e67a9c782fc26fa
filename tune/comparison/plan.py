"""A comparison's folder: what was declared, and what each of its runs came to.

comparison.json    what was declared before the first run, and what was added later
trials/            a run folder each, with its done.json (`tune.trials.ledger`)
tuning/            a search each, where every arm was tuned first (`tune.comparison.fairness`)
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.config.run_config import PLACE_FIELDS, RunConfig, fingerprint, flatten, from_dict, to_dict
from pipeline.runs.result import RunResult
from pipeline.runs.run_folder import Run, open_run
from preprocess.errors import RunError, SpikeloomError
from preprocess.files import read_json, write_json
from tune.comparison.arms import Arm, Changes, Setting, neuron_arm, parts_of
from tune.comparison.run_validation import check_run
from tune.trials.ledger import Ledger

FILE = "comparison.json"
VERSION = 2

PRIMARY_METRIC = "test_accuracy"
STOPPING_RULE = "as many seeds as were declared, whatever comes of them; what is added later is listed"


@dataclass(frozen=True)
class Tuning:
    """How each arm is tuned, in each setting alike, before its seeds run.

    Attributes:
        space: Words of the search space; () tunes nothing: equal settings for all, the paper's way.
        trials: Of each arm; None is the whole grid.
    """

    space: tuple[str, ...] = ()
    trials: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Arms in settings, paired by seed.

    Attributes:
        name: The preset or the design, or what else names it.
        settings: At least one.
        arms: At least two; the others are compared with the first.
        seeds: One run of each arm in each setting for each.
        cache: The folder of all caches.
        tuning: What is searched for each arm first.
        tuned: What was found, by setting's and arm's name.
        declared: One entry for the first declaration and each addition: when, arms, seeds, and how many runs were done.
    """

    name: str
    settings: tuple[Setting, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    cache: Path
    tuning: Tuning = Tuning()
    tuned: Mapping[tuple[str, str], Changes] = field(default_factory=dict)
    declared: tuple[Mapping[str, Any], ...] = ()

    def parts_of(self, setting: Setting, arm: Arm, seed: int) -> list[RunConfig]:
        """The runs of one arm with one seed, each from the one before."""
        return parts_of(setting, arm, seed, self.tuned.get((setting.name, arm.name), {}))

    def config_of(self, setting: Setting, arm: Arm, seed: int) -> RunConfig:
        """The run that counts: all that differs within a seed is the arm."""
        return self.parts_of(setting, arm, seed)[-1]

    def configs(self) -> list[RunConfig]:
        """Every run that counts, seed by seed, so that an interrupted comparison leaves whole pairs.

        What computes the same in two settings, for an arm that does not hear what they differ in, is run once.
        """
        return _once(self.config_of(setting, arm, seed) for seed in self.seeds for setting, arm in self.cells())

    def first_parts(self) -> list[RunConfig]:
        """The runs from which others start."""
        parts = (self.parts_of(setting, arm, seed) for seed in self.seeds for setting, arm in self.cells())
        return _once(part for every in parts for part in every[:-1])

    def cells(self) -> list[tuple[Setting, Arm]]:
        """Every setting with every arm."""
        return [(setting, arm) for setting in self.settings for arm in self.arms]

    @property
    def labels(self) -> list[str]:
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
        """With an entry for what is asked for now, if the last one is not the same.

        Args:
            done: How many runs had come to an end before.
        """
        asked = {"arms": [arm.name for arm in self.arms], "seeds": list(self.seeds)}
        if self.declared and {name: self.declared[-1][name] for name in asked} == asked:
            return self
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        return replace(self, declared=(*self.declared, {"at": now, "runs_done": done} | asked))

    def write(self, folder: Path) -> None:
        """Write `comparison.json`, whole or not at all."""
        tuned = [
            {"setting": setting, "arm": arm, "changes": dict(changes)} for (setting, arm), changes in self.tuned.items()
        ]
        asked: dict[str, Any] = {
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
            "declared": [dict(entry) for entry in self.declared],
            "cache": str(self.cache),
            "settings": [
                {"name": setting.name, "place": dict(setting.place), "config": to_dict(setting.config)}
                for setting in self.settings
            ],
        }
        write_json(folder / FILE, asked)


def _once(configs: Iterable[RunConfig]) -> list[RunConfig]:
    return list({fingerprint(config): config for config in configs}.values())


def compare_neurons(
    name: str, config: RunConfig, neurons: Sequence[str], seeds: Sequence[int], cache: Path
) -> Comparison:
    """The comparison of neurons in one setting."""
    return Comparison(name, (Setting("", config),), tuple(map(neuron_arm, neurons)), tuple(seeds), cache)


def read_comparison(folder: Path) -> Comparison:
    """What a comparison's folder was asked for.

    Raises:
        RunError: If it is no comparison, or its `comparison.json` is damaged or another version's.
    """
    path = folder / FILE
    asked = read_json(path)
    if asked is None:
        hint = "Start one: spikeloom compare PRESET"
        raise RunError(f"{folder}: expected a comparison (with {FILE}), found none. {hint}")
    # Version 1 had one configuration, and said no version.
    version = asked.get("version", 1 if "config" in asked else None)
    if version not in (VERSION, None):
        hint = "Start the comparison again in another folder."
        raise RunError(f"{path}: expected version {VERSION}, found {version}. {hint}")
    try:
        return Comparison(
            str(asked["name"]),
            tuple(
                Setting(str(part["name"]), from_dict(part["config"]), dict(part["place"])) for part in asked["settings"]
            ),
            tuple(
                Arm(str(part["name"]), dict(part["changes"]), part["begins"], int(part["seed_offset"]))
                for part in asked["arms"]
            ),
            tuple(int(seed) for seed in asked["seeds"]),
            Path(asked["cache"]),
            Tuning(tuple(asked["tuning"]["space"]), asked["tuning"]["trials"]),
            {(part["setting"], part["arm"]): part["changes"] for part in asked["tuned"]},
            tuple(asked["declared"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, SpikeloomError) as error:
        raise RunError(f"{path}: damaged ({error!r}). Start the comparison again in another folder.") from None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run of a comparison came to: the run, or why there is none to count."""

    setting: str
    arm: str
    seed: int
    run: Run | None = None
    missing: str = ""

    @property
    def result(self) -> RunResult:
        """The result of a run that is there."""
        assert self.run is not None and self.run.result is not None
        return self.run.result

    @property
    def diverged(self) -> bool:
        """Whether its loss left the finite numbers."""
        return "expected a finite loss" in self.missing


Outcomes = Mapping[tuple[str, str, int], Outcome]
"""By setting's name, arm's name and seed."""


def read_outcomes(comparison: Comparison, folder: Path) -> dict[tuple[str, str, int], Outcome]:
    """Every run that was asked for; runs that failed, are damaged or not run yet say so."""
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
