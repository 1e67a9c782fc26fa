"""What the runs of one setting say: each arm's figures, and each later arm's paired differences from the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.config import RunConfig
from preprocess.errors import SpikeloomError
from tune.arms import Arm, Setting
from tune.comparison import Comparison, Outcome, Outcomes
from tune.curves import learning_curve_area
from tune.predictions import read_groups, read_right
from tune.resampling import Bootstrap, paired_bootstrap
from tune.statistics import Summary, detectable_difference, effect_size, sign_flip_p, summarise, t_interval

SELECTIONS = {
    "last": "last epoch",
    "validation": "best validation epoch",
    "paper": "best test epoch (the paper's convention)",
}


_FEWEST_FOR_SPREAD = 3


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
        seconds: Of training.
        curve_area: The mean accuracy over the epochs, on what was measured each epoch; None where nothing was.
    """

    arm: Arm
    accuracy: dict[int, float]
    diverged: tuple[int, ...]
    missing: dict[int, str]
    firing_rate: Summary | None
    energy_uj: Summary | None
    seconds: Summary | None
    curve_area: Summary | None

    @property
    def summary(self) -> Summary | None:
        """Of the test accuracy."""
        return summarise(list(self.accuracy.values()))


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
    def effect(self) -> float | None:
        return effect_size(self.values)

    def detectable(self, comparisons: int) -> float | None:
        """The smallest true difference that so many seeds of this spread find in four of five experiments.

        None of fewer than three seeds, whose spread says next to nothing.
        """
        summary = summarise(self.values)
        if summary is None or not summary.std or summary.n < _FEWEST_FOR_SPREAD:
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
        groups: What test samples are not independent within, and how many; "" where each stands alone.
    """

    setting: Setting
    seeds: tuple[int, ...]
    arms: dict[str, ArmFigures]
    differences: tuple[Difference, ...]
    emulated: bool
    test_samples: int | None
    groups: str = ""
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What a search found for each arm here, by its name."""

    @property
    def config(self) -> RunConfig:
        return self.setting.config

    @property
    def faults(self) -> tuple[str, ...]:
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
        return f"{name} (emulated)" if self.emulated and not name.startswith("emulated-") else name

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
        arm.name: {seed: outcomes[setting.name, arm.name, seed] for seed in comparison.seeds}
        for arm in comparison.arms
    }
    results = [outcome.result for mine in every.values() for outcome in mine.values() if outcome.run is not None]
    chance = 1 / len(results[0]["classes"]) if results and results[0].get("classes") else None
    arms = {arm.name: _figures(arm, every[arm.name], chance) for arm in comparison.arms}
    samples = sorted({int(result["test_samples"]) for result in results})
    first, *others = comparison.arms
    differences, groups = [], ""
    for arm in others:
        difference, groups = _difference(comparison, setting, (arm, first), arms, every)
        differences.append(difference)
    return Verdict(
        setting,
        comparison.seeds,
        arms,
        tuple(differences),
        any(result["emulated"] for result in results) or setting.config.dataset.name.startswith("emulated-"),
        samples[0] if samples else None,
        groups,
        {arm.name: comparison.tuned.get((setting.name, arm.name), {}) for arm in comparison.arms},
    )


def _figures(arm: Arm, mine: Mapping[int, Outcome], chance: float | None) -> ArmFigures:
    there = {seed: outcome.result for seed, outcome in mine.items() if outcome.run is not None}
    accuracy = {seed: float(result["test_accuracy"]) for seed, result in there.items()}
    diverged = tuple(seed for seed, outcome in mine.items() if outcome.diverged and chance is not None)
    # A network that answers with NaN answers one class for all: dropping it would flatter the arm.
    accuracy |= {seed: chance for seed in diverged if chance is not None}
    areas = [area for outcome in mine.values() if outcome.run is not None and (area := _area(outcome)) is not None]
    return ArmFigures(
        arm,
        dict(sorted(accuracy.items())),
        diverged,
        {seed: outcome.missing for seed, outcome in mine.items() if outcome.run is None and seed not in diverged},
        _summary_of(there.values(), "firing_rate"),
        summarise([energy for result in there.values() if (energy := _energy(result)) is not None]),
        _summary_of(there.values(), "seconds"),
        summarise(areas),
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


def _difference(
    comparison: Comparison,
    setting: Setting,
    pair: tuple[Arm, Arm],
    arms: Mapping[str, ArmFigures],
    every: Mapping[str, Mapping[int, Outcome]],
) -> tuple[Difference, str]:
    """A later arm minus the first, and what the groups of the test samples are."""
    arm, minus = pair
    ours, theirs = arms[arm.name].accuracy, arms[minus.name].accuracy
    by_seed = {seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs}
    runs = [
        (every[arm.name][seed].run, every[minus.name][seed].run)
        for seed in by_seed
        if every[arm.name][seed].run is not None and every[minus.name][seed].run is not None
    ]
    # A run that diverged has no predictions: without it the others would be resampled as if it had not been.
    if not runs or len(runs) < len(by_seed):
        return Difference(arm, minus, by_seed), ""
    try:
        right, names, _ = read_right([run.folder for pair in runs for run in pair if run is not None])
        groups = read_groups(comparison.cache, setting.config.dataset.name, names)
    except SpikeloomError:
        return Difference(arm, minus, by_seed), ""
    bootstrap = paired_bootstrap(right[0::2], right[1::2], clusters=groups)
    if groups is None:
        return Difference(arm, minus, by_seed, bootstrap), ""
    count = len(set(groups.tolist()))
    unit = "groups of test samples"
    return Difference(arm, minus, by_seed, bootstrap, unit), f"{count} groups"


def seed_words(seeds: Sequence[int]) -> str:
    """Seeds in few words: 2022-2024 where they follow on each other, else 2022, 2024."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)
