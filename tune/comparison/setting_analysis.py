"""What the runs of one setting say: each arm's figures, and each later arm's paired differences from the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.run_config import RunConfig
from preprocess.datasets.emulated_names import is_emulated
from preprocess.errors import SpikeloomError
from preprocess.store.event_store import events_path, open_events
from tune.comparison.arms import Arm, Setting
from tune.comparison.plan import Comparison, Outcome, Outcomes
from tune.comparison.predictions import has_answers, read_groups, read_right
from tune.comparison.training_time import training_seconds
from tune.stats.bootstrap import Bootstrap, bootstrap_accuracy, paired_bootstrap
from tune.stats.clustered_samples import effective_samples
from tune.stats.curves import learning_curve_area
from tune.stats.sign_flip import detectable_difference, sign_flip_p
from tune.stats.summary import Summary, effect_size, summarise, t_interval

SELECTIONS = {
    "last": "last epoch",
    "validation": "best validation epoch",
    "paper": "best test epoch (the paper's convention)",
}


@dataclass(frozen=True)
class ArmFigures:
    """One arm's figures over the seeds that are there; accuracies and rates are fractions.

    Attributes:
        arm: Whose.
        accuracy: On the test samples, by seed; of a run that diverged, chance.
        diverged: The seeds whose loss left the finite numbers.
        missing: Why the other seeds have no number.
        firing_rate: Over the seeds that have a run, as the next ones.
        energy_uj: Of one inference.
        seconds: Of training, of both parts where the neuron was exchanged.
        curve_area: The mean accuracy over the epochs, on what was measured each epoch; None where nothing was.
        bootstrap: Of the accuracy, over seeds and test samples, where the predictions of every seed can be read.
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

    @property
    def summary(self) -> Summary | None:
        """Of the test accuracy."""
        return summarise(list(self.accuracy.values()))

    @property
    def crossed_interval(self) -> tuple[float, float] | None:
        """Of the test accuracy, by Student's t over seeds and test samples, within 0 and 1."""
        found = None if self.bootstrap is None else self.bootstrap.t_interval
        return None if found is None else (max(0.0, found[0]), min(1.0, found[1]))


@dataclass(frozen=True)
class Difference:
    """An arm minus the first over the seeds that both have; fractions.

    Attributes:
        arm: The later one.
        minus: The first one.
        by_seed: Accuracy of one minus the other's.
        bootstrap: Over seeds and test samples, where predictions of every pair can be read.
        unit: What the bootstrap drew beside the seeds: test samples, or groups such as subjects.
    """

    arm: Arm
    minus: Arm
    by_seed: dict[int, float]
    bootstrap: Bootstrap | None = None
    unit: str = "test samples"

    @property
    def values(self) -> list[float]:
        return list(self.by_seed.values())

    @property
    def label(self) -> str:
        return f"{self.arm.label} − {self.minus.label}"

    @cached_property
    def p(self) -> float | None:
        """Of the exact sign-flip test, not corrected for others."""
        return sign_flip_p(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's t over seeds."""
        return t_interval(self.values)

    @property
    def crossed_interval(self) -> tuple[float, float] | None:
        """Student's t over seeds and test samples."""
        return None if self.bootstrap is None else self.bootstrap.t_interval

    @property
    def effect(self) -> float | None:
        return effect_size(self.values)

    def detectable(self, comparisons: int) -> float | None:
        """The smallest true difference that so many seeds of this spread find in four of five experiments.

        None of fewer seeds than could find any.
        """
        summary = summarise(self.values)
        if summary is None or not summary.std:
            return None
        return detectable_difference(summary.std, summary.n, comparisons=comparisons)


@dataclass(frozen=True, eq=False)
class Verdict:
    """Figures and differences of one setting.

    Attributes:
        setting: Where.
        seeds: That were asked for.
        arms: Figures by arm's name, in the order asked for.
        differences: Of each later arm and the first.
        emulated: Whether an emulator made the recordings.
        test_samples: Of every run; None where no run is there.
        groups: How many groups there are in which test samples may be alike; 0 where each stands alone.
        worth: How many independent samples would tell as much as these; None where that cannot be told.
    """

    setting: Setting
    seeds: tuple[int, ...]
    arms: dict[str, ArmFigures]
    differences: tuple[Difference, ...]
    emulated: bool
    test_samples: int | None
    groups: int = 0
    worth: float | None = None
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What a search found for each arm here, by its name."""
    unanswered: tuple[str, ...] = ()
    """Why intervals over test samples are missing, a cause each."""

    @property
    def config(self) -> RunConfig:
        return self.setting.config

    @property
    def errors(self) -> tuple[str, ...]:
        """The runs that no number includes, a line each."""
        where = f"{self.setting.name}: " if self.setting.name else ""
        return tuple(
            f"{where}{figures.arm.label} seed {seed}: {cause}"
            for figures in self.arms.values()
            for seed, cause in figures.missing.items()
        )

    @property
    def dataset(self) -> str:
        """The data set's name, called emulated where it is and its name does not say so."""
        name = self.config.dataset.name
        return f"{name} (emulated)" if self.emulated and not is_emulated(name) else name

    @property
    def about(self) -> str:
        """Data set, split and T."""
        return f"{self.dataset}, {self.config.dataset.split_title} split, {self.config.binning.steps_title}"

    @property
    def selection(self) -> str:
        return SELECTIONS[self.config.selection]


def judge_setting(comparison: Comparison, setting: Setting, outcomes: Outcomes) -> Verdict:
    """What the runs of a setting say."""
    every = {
        arm.name: {seed: outcomes[setting.name, arm.name, seed] for seed in comparison.seeds} for arm in comparison.arms
    }
    results = [outcome.result for mine in every.values() for outcome in mine.values() if outcome.run is not None]
    chance = _chance(comparison, setting, results)
    answers, unread = _read_answers(comparison, setting, every)
    arms = {arm.name: _figures(arm, every[arm.name], chance, answers) for arm in comparison.arms}
    first, *others = arms.values()
    return Verdict(
        setting,
        comparison.seeds,
        arms,
        tuple(_difference(figures, first, answers) for figures in others),
        any(result["emulated"] for result in results) or is_emulated(setting.config.dataset.name),
        int(results[0]["test_samples"]) if results else None,
        *(answers.grouping() if answers else (0, None)),
        {arm.name: comparison.tuned.get((setting.name, arm.name), {}) for arm in comparison.arms},
        (unread,) if unread else tuple(_without_answers(setting, arms, every)),
    )


def _chance(comparison: Comparison, setting: Setting, results: Sequence[Mapping[str, Any]]) -> float | None:
    """The accuracy of who answers one class for all; None where nobody can say how many classes there are."""
    if results and results[0].get("classes"):
        return 1 / len(results[0]["classes"])
    try:
        # Where every run of a setting diverged.
        return 1 / len(open_events(events_path(comparison.cache, setting.config.dataset.name)).classes)
    except SpikeloomError:
        return None


@dataclass(frozen=True, eq=False)
class _Answers:
    """Which test samples the runs of a setting took for what they are.

    Attributes:
        right: bool (samples,) of each run, by arm's name and seed.
        groups: Of each sample, str (samples,); None where every sample is its own.
    """

    right: Mapping[tuple[str, int], NDArray[np.bool_]]
    groups: NDArray[np.str_] | None

    def of(self, arm: Arm, seeds: Iterable[int]) -> NDArray[np.bool_] | None:
        """(seeds, samples); None where a run has none: it diverged, and without it the others would look better."""
        rows = [self.right.get((arm.name, seed)) for seed in seeds]
        there = [row for row in rows if row is not None]
        return np.stack(there) if rows and len(there) == len(rows) else None

    def grouping(self) -> tuple[int, float | None]:
        """How many groups there are, and how many independent samples would tell as much."""
        if self.groups is None:
            return 0, None
        return len(np.unique(self.groups)), effective_samples(np.stack(list(self.right.values())), self.groups)


def _read_answers(
    comparison: Comparison, setting: Setting, every: Mapping[str, Mapping[int, Outcome]]
) -> tuple[_Answers | None, str]:
    """Of the runs that have kept them; None, and why, where runs or the event store do not fit each other."""
    runs = {
        (arm, seed): outcome.run.folder
        for arm, mine in every.items()
        for seed, outcome in mine.items()
        if outcome.run is not None and has_answers(outcome.run.folder)
    }
    if not runs:
        return None, ""
    try:
        right, names, _ = read_right(list(runs.values()))
        groups = read_groups(comparison.cache, setting.config.dataset.name, names)
    except SpikeloomError as error:
        return None, str(error)
    return _Answers(dict(zip(runs, right, strict=True)), groups), ""


def _without_answers(
    setting: Setting, arms: Mapping[str, ArmFigures], every: Mapping[str, Mapping[int, Outcome]]
) -> Iterator[str]:
    """The runs that count and have no answers, and why: their arms have no interval over test samples."""
    where = f"{setting.name}: " if setting.name else ""
    for name, figures in arms.items():
        for seed in figures.accuracy:
            run = every[name][seed].run
            if run is None:
                yield f"{where}{figures.arm.label} seed {seed} diverged"
            elif not has_answers(run.folder):
                yield f"{where}{figures.arm.label} seed {seed} has no predictions.npz"


def _figures(arm: Arm, mine: Mapping[int, Outcome], chance: float | None, answers: _Answers | None) -> ArmFigures:
    there = {seed: outcome.result for seed, outcome in mine.items() if outcome.run is not None}
    runs = [outcome.run for outcome in mine.values() if outcome.run is not None]
    accuracy = {seed: float(result["test_accuracy"]) for seed, result in there.items()}
    diverged = tuple(seed for seed, outcome in mine.items() if outcome.diverged and chance is not None)
    # A network that answers with NaN answers one class for all: dropping it would flatter the arm.
    accuracy |= {seed: chance for seed in diverged if chance is not None}
    accuracy = dict(sorted(accuracy.items()))
    right = None if answers is None else answers.of(arm, accuracy)
    areas = [area for outcome in mine.values() if outcome.run is not None and (area := _area(outcome)) is not None]
    return ArmFigures(
        arm,
        accuracy,
        diverged,
        {seed: outcome.missing for seed, outcome in mine.items() if outcome.run is None and seed not in diverged},
        _summary_of(there.values(), "firing_rate"),
        summarise([energy for result in there.values() if (energy := _energy(result)) is not None]),
        summarise([seconds for run in runs if (seconds := training_seconds(run)) is not None]),
        summarise(areas),
        None if right is None or answers is None else bootstrap_accuracy(right, clusters=answers.groups),
    )


def _summary_of(results: Any, name: str) -> Summary | None:
    return summarise([float(result[name]) for result in results if result.get(name) is not None])


def _energy(result: Mapping[str, Any]) -> float | None:
    """Of one inference in µJ: on the test samples where it was counted there, else on those that selected."""
    counted = result.get("energy") or {}
    found = counted.get("per_inference_uj", result.get("energy_uj"))
    return None if found is None else float(found)


# The accuracy that is measured each epoch: the first of these that a run has.
EPOCH_SPLITS = ("validation", "test", "train")


def _area(outcome: Outcome) -> float | None:
    assert outcome.run is not None
    metrics = outcome.run.metrics
    for split in EPOCH_SPLITS:
        rows = [row for row in metrics if row.get(f"{split}_accuracy") is not None]
        if rows:
            return learning_curve_area([row["epoch"] for row in rows], [row[f"{split}_accuracy"] for row in rows])
    return None


def _difference(ours: ArmFigures, first: ArmFigures, answers: _Answers | None) -> Difference:
    """A later arm minus the first."""
    by_seed = {seed: ours.accuracy[seed] - first.accuracy[seed] for seed in ours.accuracy if seed in first.accuracy}
    bootstrap = None
    if answers is not None:
        mine, theirs = answers.of(ours.arm, by_seed), answers.of(first.arm, by_seed)
        if mine is not None and theirs is not None:
            bootstrap = paired_bootstrap(mine, theirs, clusters=answers.groups)
    grouped = answers is not None and answers.groups is not None
    return Difference(ours.arm, first.arm, by_seed, bootstrap, "groups of test samples" if grouped else "test samples")
