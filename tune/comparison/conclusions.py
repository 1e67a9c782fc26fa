"""What a whole comparison says: its settings' verdicts, corrected for how many there are, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.runs.changed_code import accepted_sentence
from tune.comparison.arms import Arm
from tune.comparison.fairness import equality_notes
from tune.comparison.plan import Comparison, Outcomes, read_outcomes
from tune.comparison.setting_analysis import Difference, Verdict, judge_setting
from tune.rendering.table import number, points
from tune.stats.sign_flip import pairs_needed, sign_flip_p, smallest_p
from tune.stats.summary import LEVEL, holm, summarise, t_interval
from tune.trials.ledger import Ledger

# More differences than these are counted instead of told one by one.
_MOST_TOLD = 4
# A bootstrap of fewer groups than these is too narrow more often than it says.
_FEW_GROUPS = 10


@dataclass(frozen=True, eq=False)
class Conclusion:
    """The verdict on each setting, and what they say together.

    Attributes:
        comparison: What was asked for.
        outcomes: What each run came to.
        verdicts: In the order of the settings.
        accepted: What changed in the runs' own code meanwhile, as `pipeline.runs.changed_code` records it.
    """

    comparison: Comparison
    outcomes: Outcomes
    verdicts: tuple[Verdict, ...]
    accepted: Sequence[Mapping[str, str]] = ()

    @property
    def emulated(self) -> bool:
        return any(verdict.emulated for verdict in self.verdicts)

    @property
    def tested(self) -> bool:
        """Whether any run came to a result."""
        return any(verdict.test_samples is not None for verdict in self.verdicts)

    @property
    def errors(self) -> tuple[str, ...]:
        """The runs that no number includes, a line each."""
        return tuple(message for verdict in self.verdicts for message in verdict.errors)

    @property
    def family(self) -> int:
        """How many differences were declared: Holm's correction is over all of them."""
        return len(self.comparison.settings) * (len(self.comparison.arms) - 1)

    @property
    def differences(self) -> list[tuple[Verdict, Difference]]:
        return [(verdict, difference) for verdict in self.verdicts for difference in verdict.differences]

    @cached_property
    def _adjusted(self) -> dict[tuple[str, str], float | None]:
        # One that is missing counts as one: the correction is for all that were declared.
        raw = [difference.p for _, difference in self.differences]
        every = holm([1.0 if p is None else p for p in raw])
        values = [None if p is None else value for p, value in zip(raw, every, strict=True)]
        keys = [(verdict.setting.name, difference.arm.name) for verdict, difference in self.differences]
        return dict(zip(keys, values, strict=True))

    def adjusted(self, verdict: Verdict, difference: Difference) -> float | None:
        """The difference's p after Holm's correction over all differences of the comparison."""
        return self._adjusted[verdict.setting.name, difference.arm.name]

    def title(self) -> str:
        """Names it, without saying that data are emulated."""
        labels = self.comparison.labels
        names = " against ".join(labels) if len(labels) < 4 else arms_words(self.comparison.arms)
        return f"{names} on {', '.join(self.comparison.datasets)}"

    def overall(self, arm: str) -> dict[int, float]:
        """A later arm's differences averaged over the settings, by seed; only seeds that every setting has."""
        held = [difference.by_seed for _, difference in self.differences if difference.arm.name == arm]
        return {
            seed: sum(by_seed[seed] for by_seed in held) / len(held)
            for seed in self.comparison.seeds
            if all(seed in by_seed for by_seed in held)
        }

    def sentences(self) -> list[str]:
        """What the data do and do not show; the first sums it up."""
        if self.family <= _MOST_TOLD:
            said = [self._sentence(verdict, difference) for verdict, difference in self.differences]
        else:
            said = [self._counted(arm.name) for arm in self.comparison.arms[1:]]
        said += [*self._limits(), *self._samples(), *self._unanswered(), *self._diverged()]
        said += self._declarations()
        if changed := accepted_sentence(self.accepted):
            said.append(f"{changed}.")
        if any(verdict.config.selection == "paper" for verdict in self.verdicts):
            said.append("The best epoch was chosen by its test accuracy, so every accuracy here is flattering.")
        said += equality_notes(self.comparison)
        if self.emulated:
            some = "The data" if all(verdict.emulated for verdict in self.verdicts) else "Some of the data"
            said.append(f"{some} are emulated: they show that the road works, not which neuron is better.")
        return said

    def _sentence(self, verdict: Verdict, difference: Difference) -> str:
        where = f"{verdict.setting.name}: " if verdict.setting.name else ""
        summary = summarise(difference.values)
        if summary is None:
            return f"{where}{difference.label}: no seed has both runs, so these data say nothing about the difference."
        seeds = f"{summary.n} seed{'s' if summary.n > 1 else ''}"
        said = f"{where}{difference.label} is {points(summary.mean)} points over {seeds}"
        if summary.n == 1:
            return f"{said}: one pair of runs cannot tell a difference from chance."
        return f"{said} ({self._evidence(verdict, difference)}): {self._decision(verdict, difference)}"

    def _evidence(self, verdict: Verdict, difference: Difference) -> str:
        assert difference.p is not None
        ends = []
        if difference.interval is not None:
            ends.append(_ends(difference.interval))
        if difference.crossed_interval is not None:
            ends.append(f"{_ends(difference.crossed_interval)} with other {difference.unit}")
        said = f"95 % interval {', '.join(ends)}; " if ends else "alike for every seed; "
        said += f"sign-flip p = {difference.p:.2g}"
        if self.family > 1:
            said += f", {self.adjusted(verdict, difference):.2g} after Holm over {self.family}"
        return said

    def _decision(self, verdict: Verdict, difference: Difference) -> str:
        summary, adjusted = summarise(difference.values), self.adjusted(verdict, difference)
        assert summary is not None and adjusted is not None
        if adjusted <= LEVEL:
            better = difference.arm if summary.mean > 0 else difference.minus
            low, high = difference.crossed_interval or (summary.mean, summary.mean)
            if low <= 0 <= high:
                # The test is of seeds; the same few samples were asked each time.
                return f"{better.label} is ahead on these {difference.unit}; others could turn it round."
            return f"in this setting {better.label} is ahead by more than chance explains."
        if smallest_p(summary.n) * self.family > LEVEL:
            return "not shown to differ, which so few seeds cannot show."
        return "not shown to differ."

    def _counted(self, arm: str) -> str:
        """A later arm over all settings, for designs of many."""
        mine = [(verdict, difference) for verdict, difference in self.differences if difference.arm.name == arm]
        label = mine[0][1].label
        there = [(verdict, difference) for verdict, difference in mine if difference.by_seed]
        if not there:
            return f"{label}: no seed has both runs, so these data say nothing about the difference."
        means = [sum(difference.values) / len(difference.values) for _, difference in there]
        shown = [
            mean
            for mean, (verdict, difference) in zip(means, there, strict=True)
            if (adjusted := self.adjusted(verdict, difference)) is not None and adjusted <= LEVEL
        ]
        said = (
            f"{label}: above 0 in {sum(mean > 0 for mean in means)}, below in {sum(mean < 0 for mean in means)} of "
            f"{len(there)} settings, {points(min(means))} to {points(max(means))} points; shown by Holm-corrected "
            f"sign-flip tests in {sum(mean > 0 for mean in shown)} and {sum(mean < 0 for mean in shown)}."
        )
        return f"{said} {self._overall_words(arm)}".strip()

    def _overall_words(self, arm: str) -> str:
        values = list(self.overall(arm).values())
        interval, p = t_interval(values), self._overall_p.get(arm)
        if len(self.comparison.datasets) > 1 or interval is None or p is None:
            # A mean over data sets would be of nothing that anybody has.
            return ""
        mean = sum(values) / len(values)
        corrected = f" after Holm over {len(self._overall_p)}" if len(self._overall_p) > 1 else ""
        ends = f"95 % interval {_ends(interval)}; sign-flip p = {p:.2g}{corrected}"
        return f"Averaged over the settings of a seed: {points(mean)} points over {len(values)} seeds ({ends})."

    @cached_property
    def _overall_p(self) -> dict[str, float | None]:
        """Of the differences averaged over the settings, by later arm, corrected for how many arms there are."""
        arms = [arm.name for arm in self.comparison.arms[1:]]
        raw = [sign_flip_p(list(self.overall(arm).values())) for arm in arms]
        every = holm([1.0 if p is None else p for p in raw])
        return {arm: None if p is None else value for arm, p, value in zip(arms, raw, every, strict=True)}

    def _limits(self) -> list[str]:
        """What so few seeds of this spread can find."""
        pairs = [len(difference.by_seed) for _, difference in self.differences if difference.by_seed]
        if pairs and (warning := seeds_warning(max(pairs), self.family)):
            return [f"{warning}."]
        found = [
            (value, difference)
            for _, difference in self.differences
            if (value := difference.detectable(self.family)) is not None
        ]
        if not found:
            return []
        smallest, largest = min(value for value, _ in found), max(value for value, _ in found)
        if smallest > 1:
            return ["At this spread the design finds no difference at all with any certainty: more seeds would."]
        most = "100" if largest > 1 else f"{100 * largest:.1f}"
        span = " to ".join(dict.fromkeys((f"{100 * smallest:.1f}", most)))
        corrected = f", corrected for {self.family} differences" if self.family > 1 else ""
        return [
            f"At this spread the design finds a true difference of {span} points or more in four of five repetitions "
            f"with these test samples (sign-flip test{corrected}); smaller ones it mostly misses."
        ]

    def _samples(self) -> list[str]:
        worth: dict[int, dict[str, None]] = {}
        for verdict in self.verdicts:
            if verdict.test_samples:
                worth.setdefault(verdict.test_samples, {})[verdict.dataset] = None
        several = len(self.comparison.datasets) > 1
        said = [
            f"{', '.join(names) + ': one' if several else 'One'} test sample is {100 / samples:.2f} points ({samples} "
            "test samples)."
            for samples, names in worth.items()
        ]
        return [*said, *self._groups()]

    def _groups(self) -> list[str]:
        """What is done about test samples that may be alike, in the words of each data set."""
        alike: dict[str, list[str]] = {}
        for name in self.comparison.datasets:
            grouped = [verdict for verdict in self.verdicts if verdict.dataset == name and verdict.groups]
            if not grouped:
                continue
            groups, worths = grouped[0].groups, [one.worth for one in grouped if one.worth is not None]
            told = f"are in {groups} groups"
            low, high = min(worths, default=0.0), max(worths, default=0.0)
            if worths and high < (grouped[0].test_samples or 0):
                ends = dict.fromkeys(f"{end:.0f}" for end in (low, high))
                told += f", alike enough to tell about as much as {' to '.join(ends)} independent ones"
            few = "; its intervals are rough, of so few" if groups < _FEW_GROUPS else ""
            alike.setdefault(f"{told}. The bootstrap draws groups{few}.", []).append(name)
        return [f"Test samples of {', '.join(names)} {told}" for told, names in alike.items()]

    def _unanswered(self) -> list[str]:
        """Why intervals over test samples are missing."""
        causes = list(dict.fromkeys(cause for verdict in self.verdicts for cause in verdict.unanswered))
        if not causes:
            return []
        more = f"; and {len(causes) - _MOST_TOLD} more" if len(causes) > _MOST_TOLD else ""
        told = "; ".join(cause.rstrip(".") for cause in causes[:_MOST_TOLD])
        return [f"Why intervals over test samples are missing: {told}{more}."]

    def _diverged(self) -> list[str]:
        counts = {
            figures.arm.label: sum(len(verdict.arms[figures.arm.name].diverged) for verdict in self.verdicts)
            for figures in self.verdicts[0].arms.values()
        }
        told = ", ".join(f"{label} {count}" for label, count in counts.items() if count)
        return [f"Runs that diverged, counted with chance accuracy: {told}."] if told else []

    def _declarations(self) -> list[str]:
        declared = self.comparison.declared
        late = [entry["runs_done"] for entry in declared[1:] if entry["runs_done"]]
        if not late:
            return []
        first = declared[0]["seeds"]
        when = " and ".join(f"{done} run{'s' if done > 1 else ''}" for done in late)
        return [
            f"Declared at first were {len(first)} seed{'s' if len(first) > 1 else ''} of {len(declared[0]['arms'])} "
            f"neurons; more were added when {when} were done. If what they showed led to that, p is too small."
        ]


def conclude(comparison: Comparison, folder: Path) -> Conclusion:
    """Read what the runs of a comparison's folder came to, and judge it."""
    outcomes = read_outcomes(comparison, folder)
    verdicts = tuple(judge_setting(comparison, setting, outcomes) for setting in comparison.settings)
    return Conclusion(comparison, outcomes, verdicts, Ledger(folder).accepted())


def arms_words(arms: Sequence[Arm]) -> str:
    """How many neurons, and how many that are exchanged for another while they train."""
    exchanged = sum(arm.begins is not None for arm in arms)
    said = f"{len(arms) - exchanged} neurons"
    return f"{said} and {exchanged} exchange{'' if exchanged == 1 else 's'}" if exchanged else said


def seeds_warning(count: int, family: int) -> str:
    """Why so few seeds cannot show a difference; "" where they can."""
    if smallest_p(count) * family <= LEVEL:
        return ""
    needed = pairs_needed(comparisons=family)
    corrected = f", times {family} by Holm's correction for {family} differences" if family > 1 else ""
    return (
        f"{count} seed{'s' if count > 1 else ''} cannot show a difference: a sign-flip test reaches p = "
        f"{number(smallest_p(count), '.2g')} at best{corrected}; p <= {LEVEL} takes {needed} or more (--seeds {needed})"
    )


def _ends(interval: tuple[float, float]) -> str:
    return " to ".join(map(points, interval))


def missing_lines(errors: Sequence[str]) -> list[str]:
    """The runs that no number includes, a line each."""
    return [f"Missing, in no mean: {message}" for message in errors]
