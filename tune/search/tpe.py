"""The tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), by Optuna: trials learn from earlier ones.

Every proposal is computed from scratch from the trials and the ledger, with its own seed: no state is lost with the
driver process, and the same trials in the same order give the same proposal.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pipeline.config.run_config import RunConfig, fingerprint, override
from tune.search.pareto import OBJECTIVES
from tune.search.random_and_grid import sample_space
from tune.search.search_method import SearchMethod
from tune.space.dimensions import Choice, Dimension, Range
from tune.space.space import Changes, parse_space
from tune.trials.ledger import Ledger

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

    from tune.search.search_plan import Search

# The first trials come from a Latin hypercube; the estimator needs some results to start from.
_STARTUP = 10
# Attempts to get a proposal that does not repeat an earlier trial; after that a new point is drawn at random.
_TRIES = 20


class TpeTrials:
    """Proposes trials from the results of earlier ones; writes `search.json` with each proposal.

    Attributes:
        search: With every trial that has been proposed so far.
    """

    def __init__(self, search: Search, folder: Path) -> None:
        self.search = search
        self._folder, self._ledger = folder, Ledger(folder)
        self._space = parse_space(search.space, search.config)
        self._startup = sample_space(self._space, search.config, search.samples, search.config.seed)[:_STARTUP]
        self._known = {fingerprint(override(search.config, changes)) for changes in search.trials}
        self._ended: dict[int, FrozenTrial | None] = {}
        self._out_of_points = False

    @property
    def configs(self) -> Sequence[RunConfig]:
        """The runs of every trial proposed so far, in order."""
        return self.search.configs()

    open = configs

    @property
    def exhausted(self) -> bool:
        """Whether as many trials as requested, or all points of the space, have been proposed."""
        return self._out_of_points or len(self.search.trials) >= self.search.samples

    def ask(self) -> Sequence[RunConfig]:
        """The runs of one more trial."""
        if self.exhausted:
            return ()
        changes = self._propose(len(self.search.trials))
        if changes is None:
            self._out_of_points = True
            return ()
        self._known.add(fingerprint(override(self.search.config, changes)))
        self.search = replace(self.search, trials=(*self.search.trials, changes))
        self.search.write(self._folder)
        return self.search.repeats(changes)

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        """Nothing to do: results are read from the ledger."""

    def _propose(self, number: int) -> Changes | None:
        """A point that has not been proposed before; None if there is no other."""
        if number < len(self._startup) and self._is_new(self._startup[number]):
            return self._startup[number]
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        for again in range(_TRIES):
            seed = self.search.config.seed + 1000 * number + again
            with warnings.catch_warnings():
                # `group` estimates conditional fields together, `constant_liar` counts running trials as poor ones, so
                # that others are proposed elsewhere; Optuna marks both as experimental.
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler = optuna.samplers.TPESampler(
                    n_startup_trials=1, multivariate=True, group=True, constant_liar=True, seed=seed
                )
            directions = ["maximize" if OBJECTIVES[name][1] > 0 else "minimize" for name in self.search.objectives]
            study = optuna.create_study(directions=directions, sampler=sampler)  # type: ignore[arg-type]
            study.add_trials([trial for trial in map(self._history, range(number)) if trial is not None])
            changes = self._suggest(study.ask())
            if self._is_new(changes):
                return changes
        config = self.search.config
        drawn = sample_space(self._space, config, 10 * self.search.samples, config.seed + number)
        return next((changes for changes in drawn if self._is_new(changes)), None)

    def _is_new(self, changes: Changes) -> bool:
        return self.search.fits(changes) and fingerprint(override(self.search.config, changes)) not in self._known

    def _suggest(self, trial: Trial) -> Changes:
        point: Changes = {}
        for dimension in self._space.dimensions:
            if self._space.active(dimension, point, self.search.config):
                point[dimension.path] = _suggest_value(trial, dimension)
        return self._space.clean(point, self.search.config)

    def _history(self, number: int) -> FrozenTrial | None:
        """A trial as the estimator sees it; None if it failed."""
        if number in self._ended:
            return self._ended[number]
        from optuna.trial import TrialState, create_trial

        changes = self.search.trials[number]
        runs = self.search.repeats(changes)
        records = [self._ledger.read_done(config) for config in runs]
        params, distributions = self._parameters(changes)
        known: dict[str, Any] = {"params": params, "distributions": distributions}
        found: FrozenTrial | None
        if any(record is None for record in records):
            # A running trial keeps new proposals away from its own point.
            return create_trial(state=TrialState.RUNNING, **known)
        ends = {record["status"] for record in records if record is not None}
        if ends == {"done"}:
            values = [self._value(name, records, runs[0]) for name in self.search.objectives]
            known_values = [value for value in values if value is not None]
            found = create_trial(values=known_values, **known) if len(known_values) == len(values) else None
        elif "failed" in ends:
            found = None
        else:
            # A pruned trial is compared at its own epochs, by the mean over those seeds that reached them.
            curves = [[row["validation_accuracy"] for row in self._ledger.metrics(config)] for config in runs]
            epochs = min(map(len, curves))
            values_by_epoch = {epoch + 1: fmean(curve[epoch] for curve in curves) for epoch in range(epochs)}
            found = create_trial(state=TrialState.PRUNED, intermediate_values=values_by_epoch, **known)
        self._ended[number] = found
        return found

    def _value(self, objective: str, records: Sequence[Mapping[str, Any] | None], config: RunConfig) -> float | None:
        """The mean over the runs of a trial; None if a run has no value."""
        if objective == "timesteps":
            return float(config.binning.timesteps)
        values = [record.get(OBJECTIVES[objective][0]) for record in records if record is not None]
        return None if None in values else fmean(float(value) for value in values if value is not None)

    def _parameters(self, changes: Changes) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """A trial's values in Optuna's form, with the distributions they were drawn from."""
        params: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        for dimension in self._space.dimensions:
            if dimension.path in changes:
                value = changes[dimension.path]
                params[dimension.path] = dimension.values.index(value) if isinstance(dimension, Choice) else value
                distributions[dimension.path] = _distribution(dimension)
        return params, distributions


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Choices are given by index, because Optuna accepts no lists; the index implies neither order nor distance."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(range(len(dimension.values)))
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _suggest_value(trial: Trial, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return dimension.values[trial.suggest_categorical(dimension.path, range(len(dimension.values)))]
    assert isinstance(dimension, Range)
    if dimension.whole:
        return trial.suggest_int(dimension.path, int(dimension.low), int(dimension.high), log=dimension.log)
    return dimension.tidy(trial.suggest_float(dimension.path, dimension.low, dimension.high, log=dimension.log))


TPE = SearchMethod(
    name="tpe",
    summary="each trial learns from earlier ones (tree-structured Parzen estimator, by Optuna)",
    draw=sample_space,
    runs=lambda search: max(1, len(search.seeds)) * search.samples,
    source=TpeTrials,
)
