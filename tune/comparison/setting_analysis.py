"""The analysis of one setting: the results of each arm, and the paired differences of each later arm to the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.analysis.convergence_rule import Convergence
from pipeline.config.run_config import RunConfig
from preprocess.datasets.emulated_names import is_emulated
from preprocess.datasets.splits import Resampling, title_of_split
from preprocess.errors import SpikeloomError
from preprocess.store.imported_frames import open_dataset
from tune.comparison.arms import Arm, PairedDifference, Setting
from tune.comparison.comparison_plan import Comparison, Outcome, Outcomes
from tune.comparison.convergence.convergence_by_seed import convergence_by_seed
from tune.comparison.convergence.speed_by_seed import Speed, curve_area, speed_by_seed
from tune.comparison.resampling.over_splits import interval_over_splits, test_per_train, unequal_shares
from tune.comparison.sample_predictions import has_predictions, read_correct, read_groups
from tune.comparison.training_time import training_seconds
from tune.stats.bootstrap import Bootstrap, bootstrap_accuracy, paired_bootstrap
from tune.stats.clustered_samples import effective_samples
from tune.stats.equivalence import equivalence_p
from tune.stats.sign_flip import detectable_difference
from tune.stats.summary import Summary, effect_size, summarise, t_interval

SELECTIONS = {
    "last": "last epoch",
    "validation": "best validation epoch",
    "paper": "best test epoch (the paper's convention)",
}
"""How the evaluated epoch was selected, short enough for the column of a table."""


@dataclass(frozen=True)
class ArmResults:
    """The results of one arm over the finished seeds; accuracies and rates are fractions.

    Attributes:
        arm: The arm.
        accuracy: Test accuracy by seed; chance for a run that diverged.
        diverged: The seeds whose loss became infinite or NaN.
        missing: Why the other seeds have no result.
        firing_rate: Firing rate; this and the following summaries are over the seeds with a run.
        energy_uj: Energy of one inference.
        seconds: Training time, including that of both parts if the neuron was exchanged.
        curve_area: Mean accuracy over the epochs, on the split that each epoch measured; None if nothing was measured.
        bootstrap: Bootstrap of the accuracy over seeds and test samples, if the predictions of every seed can be read.
        convergence: Whether the training of each finished run had ended, by seed.
        speed: The epochs that each run took to the training accuracy `Comparison.speed_at`, by seed.
        over_splits: Interval of the accuracy over splits, if they are a factor; there is no bootstrap then.
    """

    arm: Arm
    accuracy: dict[int, float]
    diverged: tuple[int, ...]
    missing: dict[int, str]
    firing_rate: Summary | None
    energy_uj: Summary | None
    seconds: Summary | None
    curve_area: Summary | None
    bootstrap: Bootstrap | None = None
    convergence: Mapping[int, Convergence] = field(default_factory=dict)
    speed: Mapping[int, Speed] = field(default_factory=dict)
    over_splits: tuple[float, float] | None = None

    @property
    def unconverged(self) -> tuple[int, ...]:
        """The seeds of the runs that had not converged."""
        return tuple(seed for seed, found in self.convergence.items() if not found.converged)

    @property
    def summary(self) -> Summary | None:
        """Summary of the test accuracy."""
        return summarise(list(self.accuracy.values()))

    @property
    def crossed_interval(self) -> tuple[float, float] | None:
        """Interval of the test accuracy, Student's t over seeds and test samples or splits, within 0 and 1."""
        found = self.over_splits if self.bootstrap is None else self.bootstrap.t_interval
        return None if found is None else (max(0.0, found[0]), min(1.0, found[1]))


@dataclass(frozen=True)
class Difference(PairedDifference):
    """A difference of accuracies; fractions.

    Attributes:
        bootstrap: Bootstrap over seeds and test samples, if the predictions of every pair can be read.
        unit: The unit that the bootstrap resamples besides seeds: test samples, or groups of them such as subjects.
        test_samples: The number of test samples; 0 if unknown.
        pair: What the values are paired by: "seed", or "pair" of seed and split if splits are a factor.
        over_splits: Interval of the mean over splits, if they are a factor; there is no bootstrap then.
    """

    bootstrap: Bootstrap | None = None
    unit: str = "test samples"
    test_samples: int = 0
    pair: str = "seed"
    over_splits: tuple[float, float] | None = None

    def equivalence_p(self, margin: float) -> float | None:
        """p-value of the two one-sided t-tests, not corrected; the spread is at least one test sample."""
        return equivalence_p(self.values, margin, least_std=self.resolution)

    def exceeds(self, margin: float) -> bool:
        """Whether the interval over seeds lies beyond the margin; the spread is at least one test sample."""
        interval = t_interval(self.values, least_std=self.resolution)
        return interval is not None and (interval[0] > margin or interval[1] < -margin)

    @property
    def resolution(self) -> float:
        """The share of one test sample; 0 if their number is unknown."""
        return 1 / self.test_samples if self.test_samples else 0.0

    @property
    def interval(self) -> tuple[float, float] | None:
        """Interval of the mean, Student's t over seeds."""
        return t_interval(self.values)

    @property
    def crossed_interval(self) -> tuple[float, float] | None:
        """Interval of the mean, Student's t over seeds and test samples or splits."""
        return self.over_splits if self.bootstrap is None else self.bootstrap.t_interval

    @property
    def may_not_generalise(self) -> bool:
        """Whether the interval over test samples or splits includes zero: the test is over seeds, which share those."""
        interval = self.crossed_interval
        return interval is not None and interval[0] <= 0 <= interval[1]

    @property
    def tested_on(self) -> str:
        """Where a difference is shown by the test over pairs."""
        return "on this test set" if self.pair == "seed" else "on these splits"

    @property
    def effect(self) -> float | None:
        """Effect size d_z with Hedges' correction; see `tune.stats.summary.effect_size`."""
        return effect_size(self.values)

    def detectable(self, comparisons: int) -> float | None:
        """The smallest true difference that the test detects with 80 % power at this spread and number of seeds.

        None if the number of seeds is too small for any.
        """
        summary = summarise(self.values)
        if summary is None or not summary.std:
            return None
        return detectable_difference(summary.std, summary.n, comparisons=comparisons)


@dataclass(frozen=True, eq=False)
class SettingResult:
    """The results and differences of one setting.

    Attributes:
        setting: The setting.
        seeds: The declared seeds.
        arms: Results by arm's name, in the declared order.
        differences: Each later arm minus the first.
        emulated: Whether an emulator made the recordings.
        test_samples: The number of test samples; None if no run has a result.
        groups: The number of groups of related test samples; 0 if all are independent.
        independent_samples: The effective number of independent samples; None if it cannot be estimated.
        tuned: The tuned values of each arm, by its name.
        unread: Why intervals over test samples are missing, one cause each.
        draws: The splits, if they are a factor; `config` is then that of the first, and `test_samples` the smallest.
        unequal: The smallest and largest ratio of test to training samples, if splits are very unequal in it.
    """

    setting: Setting
    seeds: tuple[int, ...]
    arms: dict[str, ArmResults]
    differences: tuple[Difference, ...]
    emulated: bool
    test_samples: int | None
    groups: int = 0
    independent_samples: float | None = None
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    draws: tuple[Resampling, ...] = ()
    unequal: tuple[float, float] | None = None

    @property
    def config(self) -> RunConfig:
        """Configuration of the setting, which every arm changes."""
        return self.setting.config

    @property
    def errors(self) -> tuple[str, ...]:
        """The excluded runs, one line each."""
        where = f"{self.setting.name}: " if self.setting.name else ""
        return tuple(
            f"{where}{arm_results.arm.label} seed {seed}: {cause}"
            for arm_results in self.arms.values()
            for seed, cause in arm_results.missing.items()
        )

    @property
    def dataset(self) -> str:
        """The data set's name, with "(emulated)" if the name itself does not show it."""
        name = self.config.dataset.name
        return f"{name} (emulated)" if self.emulated and not is_emulated(name) else name

    @property
    def split_title(self) -> str:
        """The split, or all of them."""
        dataset = self.config.dataset
        return title_of_split(dataset.split, self.draws) if self.draws else dataset.split_title

    @property
    def selection(self) -> str:
        """How the evaluated epoch was selected, for people."""
        return SELECTIONS[self.config.selection]


def analyse_setting(
    comparison: Comparison,
    setting: Setting,
    outcomes: Outcomes,
    before: Outcomes | None = None,
    draws: tuple[Resampling, ...] = (),
) -> SettingResult:
    """Analyse the runs of a setting.

    Args:
        comparison: The comparison.
        setting: The setting.
        outcomes: The outcome of each run.
        before: Those with half of the epochs, if epochs were doubled.
        draws: The splits of the setting, if they are a factor: the seeds are then pairs of seed and split.
    """
    every = _by_arm(comparison, setting, outcomes)
    halves = {} if before is None else _by_arm(comparison, setting, before)
    results = [outcome.result for mine in every.values() for outcome in mine.values() if outcome.run is not None]
    chance = _chance(comparison, setting, results)
    # Splits have different test samples: their variance is that over splits.
    predictions, unread = (None, "") if draws else _read_predictions(comparison, setting, every)
    share = test_per_train(results) if draws else None
    classes = None if chance is None else round(1 / chance)
    arms = {
        arm.name: replace(
            _arm_results(arm, every[arm.name], chance, predictions),
            convergence=convergence_by_seed(every[arm.name], halves.get(arm.name, {}), classes),
            speed=speed_by_seed(every[arm.name], comparison.speed_at, setting.config.schedule.last_epoch),
        )
        for arm in comparison.arms
    }
    first, *others = arms.values()
    groups, independent_samples = predictions.grouping() if predictions else (0, None)
    test_samples = min((int(result["test_samples"]) for result in results), default=None)
    if draws:
        arms = {
            name: replace(mine, over_splits=interval_over_splits(mine.accuracy, share)) for name, mine in arms.items()
        }
        first, *others = arms.values()
    return SettingResult(
        setting=setting,
        seeds=comparison.seeds,
        arms=arms,
        differences=tuple(
            _over_splits(difference, share) if draws else difference
            for difference in (_difference(ours, first, predictions, test_samples or 0) for ours in others)
        ),
        emulated=any(result["emulated"] for result in results) or is_emulated(setting.config.dataset.name),
        test_samples=test_samples,
        groups=groups,
        independent_samples=independent_samples,
        tuned={arm.name: comparison.tuned.get((setting.name, arm.name), {}) for arm in comparison.arms},
        unread=(unread,) if unread else () if draws else tuple(_without_predictions(setting, arms, every)),
        draws=draws,
        unequal=unequal_shares(results) if draws else None,
    )


def _by_arm(comparison: Comparison, setting: Setting, outcomes: Outcomes) -> dict[str, dict[int, Outcome]]:
    return {
        arm.name: {seed: outcomes[setting.name, arm.name, seed] for seed in comparison.seeds} for arm in comparison.arms
    }


def _chance(comparison: Comparison, setting: Setting, results: Sequence[Mapping[str, Any]]) -> float | None:
    """The accuracy of always predicting one class; None if the number of classes is unknown."""
    if results and results[0].get("classes"):
        return 1 / len(results[0]["classes"])
    try:
        # Every run of the setting diverged: the event store has the classes.
        return 1 / len(open_dataset(comparison.cache, setting.config.dataset.name).classes)
    except SpikeloomError:
        return None


@dataclass(frozen=True, eq=False)
class _Predictions:
    """Which test samples the runs of a setting classify correctly.

    Attributes:
        correct: bool (samples,) of each run, by arm's name and seed.
        groups: The group of each sample, str (samples,); None if every sample is its own group.
    """

    correct: Mapping[tuple[str, int], NDArray[np.bool_]]
    groups: NDArray[np.str_] | None

    def of(self, arm: Arm, seeds: Iterable[int]) -> NDArray[np.bool_] | None:
        """bool (seeds, samples); None if a run has none: it diverged, and leaving it out would favour the arm."""
        rows = [self.correct.get((arm.name, seed)) for seed in seeds]
        present = [row for row in rows if row is not None]
        return np.stack(present) if rows and len(present) == len(rows) else None

    def grouping(self) -> tuple[int, float | None]:
        """The number of groups, and the number of independent samples with as much information."""
        if self.groups is None:
            return 0, None
        return len(np.unique(self.groups)), effective_samples(np.stack(list(self.correct.values())), self.groups)


def _read_predictions(
    comparison: Comparison, setting: Setting, every: Mapping[str, Mapping[int, Outcome]]
) -> tuple[_Predictions | None, str]:
    """The predictions of the runs that have them; None and the cause where runs and event store do not match."""
    runs = {
        (arm, seed): outcome.run.folder
        for arm, mine in every.items()
        for seed, outcome in mine.items()
        if outcome.run is not None and has_predictions(outcome.run.folder)
    }
    if not runs:
        return None, ""
    try:
        correct, names, _ = read_correct(list(runs.values()))
        groups = read_groups(comparison.cache, setting.config.dataset.name, names)
    except SpikeloomError as error:
        return None, str(error)
    return _Predictions(dict(zip(runs, correct, strict=True)), groups), ""


def _without_predictions(
    setting: Setting, arms: Mapping[str, ArmResults], every: Mapping[str, Mapping[int, Outcome]]
) -> Iterator[str]:
    """The runs without predictions, and why: their arms have no interval over test samples."""
    where = f"{setting.name}: " if setting.name else ""
    for name, arm_results in arms.items():
        for seed in arm_results.accuracy:
            run = every[name][seed].run
            if run is None:
                yield f"{where}{arm_results.arm.label} seed {seed} diverged"
            elif not has_predictions(run.folder):
                yield f"{where}{arm_results.arm.label} seed {seed} has no predictions.npz"


def _arm_results(
    arm: Arm, mine: Mapping[int, Outcome], chance: float | None, predictions: _Predictions | None
) -> ArmResults:
    finished = {seed: outcome.result for seed, outcome in mine.items() if outcome.run is not None}
    runs = [outcome.run for outcome in mine.values() if outcome.run is not None]
    accuracy = {seed: float(result["test_accuracy"]) for seed, result in finished.items()}
    diverged = tuple(seed for seed, outcome in mine.items() if outcome.diverged and chance is not None)
    # A network with NaN outputs predicts one class for all samples; dropping the run would favour the arm.
    accuracy |= {seed: chance for seed in diverged if chance is not None}
    accuracy = dict(sorted(accuracy.items()))
    correct = None if predictions is None else predictions.of(arm, accuracy)
    areas = [area for outcome in mine.values() if outcome.run is not None and (area := curve_area(outcome)) is not None]
    return ArmResults(
        arm,
        accuracy,
        diverged,
        {seed: outcome.missing for seed, outcome in mine.items() if outcome.run is None and seed not in diverged},
        _summary_of(finished.values(), "firing_rate"),
        summarise([energy for result in finished.values() if (energy := _energy(result)) is not None]),
        summarise([seconds for run in runs if (seconds := training_seconds(run)) is not None]),
        summarise(areas),
        None if correct is None or predictions is None else bootstrap_accuracy(correct, clusters=predictions.groups),
    )


def _summary_of(results: Any, name: str) -> Summary | None:
    return summarise([float(result[name]) for result in results if result.get(name) is not None])


def _energy(result: Mapping[str, Any]) -> float | None:
    """The energy of one inference in µJ: on the test samples if it was counted there, otherwise during training."""
    counted = result.get("energy") or {}
    found = counted.get("per_inference_uj", result.get("energy_uj"))
    return None if found is None else float(found)


def _difference(ours: ArmResults, first: ArmResults, predictions: _Predictions | None, test_samples: int) -> Difference:
    """A later arm minus the first."""
    by_seed = {seed: ours.accuracy[seed] - first.accuracy[seed] for seed in ours.accuracy if seed in first.accuracy}
    bootstrap = None
    if predictions is not None:
        mine, theirs = predictions.of(ours.arm, by_seed), predictions.of(first.arm, by_seed)
        if mine is not None and theirs is not None:
            bootstrap = paired_bootstrap(mine, theirs, clusters=predictions.groups)
    grouped = predictions is not None and predictions.groups is not None
    unit = "groups of test samples" if grouped else "test samples"
    return Difference(ours.arm, first.arm, by_seed, bootstrap, unit, test_samples)


def _over_splits(difference: Difference, share: float | None) -> Difference:
    """The difference with an interval over splits."""
    interval = interval_over_splits(difference.by_seed, share)
    return replace(difference, unit="splits", pair="pair", over_splits=interval)
