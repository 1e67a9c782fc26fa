"""A comparison's folder: what was asked for, and what each of its runs came to.

comparison.json    what was asked for, written before the first run
trials/            a run folder each, with its done.json (`tune.ledger`)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig, fingerprint, from_dict, override, to_dict
from pipeline.runs import Run, open_run, read_json, write_json
from preprocess.errors import RunError, SpikeloomError
from tune.ledger import Ledger

FILE = "comparison.json"


@dataclass(frozen=True)
class Comparison:
    """The same runs with one neuron and another, paired by seed.

    Attributes:
        name: The preset, or what else names the configuration.
        config: What all runs share; its neuron's name and its seed are each run's own.
        neurons: At least two names; the others are compared with the first.
        seeds: One run of each neuron for each.
        cache: The folder of all caches.
    """

    name: str
    config: RunConfig
    neurons: tuple[str, ...]
    seeds: tuple[int, ...]
    cache: Path

    def config_of(self, neuron: str, seed: int) -> RunConfig:
        """One run: all that differs within a seed is the neuron."""
        return override(self.config, {"neuron.name": neuron, "seed": seed})

    def configs(self) -> list[RunConfig]:
        """Every run, seed by seed, so that an interrupted comparison leaves whole pairs."""
        return [self.config_of(neuron, seed) for seed in self.seeds for neuron in self.neurons]

    def write(self, folder: Path) -> None:
        """Write `comparison.json`, whole or not at all."""
        asked: dict[str, Any] = {
            "name": self.name,
            "neurons": list(self.neurons),
            "seeds": list(self.seeds),
            "primary_metric": "test_accuracy",
            "selection": self.config.selection,
            "cache": str(self.cache),
            "config": to_dict(self.config),
        }
        write_json(folder / FILE, asked)


def read_comparison(folder: Path) -> Comparison:
    """What a comparison's folder was asked for.

    Raises:
        RunError: If it is no comparison, or its `comparison.json` is damaged.
    """
    path = folder / FILE
    asked = read_json(path)
    if asked is None:
        hint = "Start one: spikeloom compare PRESET"
        raise RunError(f"{folder}: expected a comparison (with {FILE}), found none. {hint}")
    try:
        return Comparison(
            str(asked["name"]),
            from_dict(asked["config"]),
            tuple(str(neuron) for neuron in asked["neurons"]),
            tuple(int(seed) for seed in asked["seeds"]),
            Path(asked["cache"]),
        )
    except (KeyError, TypeError, ValueError, SpikeloomError) as error:
        raise RunError(f"{path}: damaged ({error!r}). Start the comparison again in another folder.") from None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run of a comparison came to: the run, or why there is none to count."""

    neuron: str
    seed: int
    run: Run | None = None
    missing: str = ""

    @property
    def result(self) -> dict[str, Any]:
        """The result of a run that is there."""
        assert self.run is not None and self.run.result is not None
        return self.run.result


def read_outcomes(comparison: Comparison, folder: Path) -> dict[tuple[str, int], Outcome]:
    """Every run that was asked for, by neuron and seed; runs that failed, are damaged or not run yet say so."""
    return {(outcome.neuron, outcome.seed): outcome for outcome in _outcomes(comparison, folder)}


def _outcomes(comparison: Comparison, folder: Path) -> Iterator[Outcome]:
    ledger = Ledger(folder)
    for seed in comparison.seeds:
        for neuron in comparison.neurons:
            config = comparison.config_of(neuron, seed)
            try:
                record = ledger.read_done(config)
                if record is None:
                    yield Outcome(neuron, seed, missing="not run yet")
                elif record["status"] != "done":
                    yield Outcome(neuron, seed, missing=f"{record['status']}: {record.get('error') or 'no cause kept'}")
                else:
                    yield Outcome(neuron, seed, _whole(open_run(ledger.trial_folder(config)), config))
            except (SpikeloomError, KeyError) as error:
                yield Outcome(neuron, seed, missing=f"damaged: {error}")


def _whole(run: Run, config: RunConfig) -> Run:
    """The run, if its result belongs to the configuration; RunError if not."""
    needed = ("fingerprint", "test_accuracy", "test_samples", "firing_rate", "seconds", "emulated")
    lacks = [name for name in needed if (run.result or {}).get(name) is None]
    if lacks:
        raise RunError(f"{run.folder}: result.json lacks {', '.join(lacks)}")
    assert run.result is not None
    if run.result["fingerprint"] != fingerprint(config):
        raise RunError(f"{run.folder}: result.json is another run's ({run.result['fingerprint']})")
    return run
