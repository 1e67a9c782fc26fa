"""The conclusions of a comparison: results of all settings, corrected for their number, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.runs.changed_code import accepted_sentence
from preprocess.terminal.plural import counted
from tune.comparison.arms import Arm
from tune.comparison.comparison_plan import Comparison, Outcomes, read_outcomes
from tune.comparison.convergence.convergence_notes import convergence_sentences, convergence_warning
from tune.comparison.convergence.learning_speed import corrected_p
from tune.comparison.fairness_notes import equality_notes
from tune.comparison.margin_verdict import MarginVerdict, equivalence_evidence, judge_margin, margin_sentence
from tune.comparison.outlying_runs import outlying_sentences
from tune.comparison.resampling.joined_splits import join_splits
from tune.comparison.resampling.split_notes import split_sentences
from tune.comparison.setting_analysis import Difference, SettingResult, analyse_setting
from tune.rendering.table import number, points
from tune.stats.holm import holm
from tune.stats.sign_flip import pairs_needed, sign_flip_p, smallest_p
from tune.stats.summary import LEVEL, summarise, t_interval
from tune.trials.ledger import Ledger

# More differences than these are counted instead of listed one by one.
_MOST_LISTED = 4
# With fewer groups than these, bootstrap intervals are too narrow.
_FEW_GROUPS = 10


@dataclass(frozen=True, eq=False)
class Conclusion:
    """The result of each setting, and what they show together.

    Attributes:
        comparison: The comparison.
        outcomes: The outcome of each run.
        results: In the order of the settings.
        accepted: Accepted changes of custom code between the runs, as `pipeline.runs.changed_code` records them.
    """

    comparison: Comparison
    outcomes: Outcomes
    results: tuple[SettingResult, ...]
    accepted: Sequence[Mapping[str, str]] = ()

    @property
    def emulated(self) -> bool:
        """Whether the recordings of any setting are emulated."""
        return any(result.emulated for result in self.results)

    @property
    def tested(self) -> bool:
        """Whether any run has a result."""
        return any(result.test_samples is not None for result in self.results)

    @property
    def errors(self) -> tuple[str, ...]:
        """The excluded runs, one line each."""
        return tuple(message for result in self.results for message in result.errors)

    @property
    def family(self) -> int:
        """The number of declared differences, all of which Holm's correction covers."""
        return len(self.comparison.settings) * (len(self.comparison.arms) - 1)

    @property
    def splits(self) -> int:
        """The number of splits on which each seed is trained; 1 if they are not a factor."""
        return max(1, *(len(result.draws) for result in self.results))

    @property
    def differences(self) -> list[tuple[SettingResult, Difference]]:
        """Every difference with its setting, in the order of the settings."""
        return [(result, difference) for result in self.results for difference in result.differences]

    @cached_property
    def _adjusted(self) -> dict[tuple[str, str], float | None]:
        # A missing difference counts with p = 1: the correction covers all that were declared.
        raw = [difference.p for _, difference in self.differences]
        every = holm([1.0 if p is None else p for p in raw])
        values = [None if p is None else value for p, value in zip(raw, every, strict=True)]
        keys = [(result.setting.name, difference.arm.name) for result, difference in self.differences]
        return dict(zip(keys, values, strict=True))

    def adjusted(self, result: SettingResult, difference: Difference) -> float | None:
        """The difference's p after Holm's correction over all differences of the comparison."""
        return self._adjusted[result.setting.name, difference.arm.name]

    def title(self) -> str:
        """The title, which does not mention whether data are emulated."""
        labels = self.comparison.labels
        names = " against ".join(labels) if len(labels) < 4 else count_arms(self.comparison.arms)
        return f"{names} on {', '.join(self.comparison.datasets)}"

    def overall(self, arm: str) -> dict[int, float]:
        """A later arm's differences averaged over the settings, by seed; only for seeds that every setting has."""
        by_setting = [difference.by_seed for _, difference in self.differences if difference.arm.name == arm]
        return {
            seed: sum(by_seed[seed] for by_seed in by_setting) / len(by_setting)
            for seed in self.comparison.seeds
            if all(seed in by_seed for by_seed in by_setting)
        }

    @cached_property
    def _equivalence(self) -> dict[tuple[str, str], float | None]:
        """p of the tests of equivalence within the margin, after Holm's correction over all differences."""
        margin = self.comparison.margin
        assert margin is not None
        raw = [difference.equivalence_p(margin) for _, difference in self.differences]
        every = holm([1.0 if p is None else p for p in raw])
        keys = [(result.setting.name, difference.arm.name) for result, difference in self.differences]
        return {key: None if p is None else value for key, p, value in zip(keys, raw, every, strict=True)}

    def margin_verdict(self, result: SettingResult, difference: Difference) -> MarginVerdict | None:
        """The verdict by the declared margin; None if there is no margin or no difference."""
        if self.comparison.margin is None:
            return None
        return judge_margin(
            difference,
            self.comparison.margin,
            equivalence_p=self._equivalence[result.setting.name, difference.arm.name],
            difference_p=self.adjusted(result, difference),
            family=self.family,
        )

    @cached_property
    def speed_p(self) -> Mapping[tuple[str, str], float | None]:
        """p of each difference of speed by setting's and arm's name, after Holm's correction over all of them."""
        return corrected_p(self.results)

    @property
    def warning(self) -> str:
        """That runs had not converged, which stands above every sentence; "" if they had."""
        return convergence_warning(self.comparison, self.results)

    @property
    def converged(self) -> bool:
        """Whether every finished run had converged; False if none could be assessed."""
        arms = [figures for result in self.results for figures in result.arms.values()]
        return any(figures.convergence for figures in arms) and not any(figures.unconverged for figures in arms)

    def statements(self) -> list[str]:
        """The warning if there is one, then the sentences."""
        return [*filter(None, [self.warning]), *self.sentences()]

    def sentences(self) -> list[str]:
        """The conclusions and their limits; the first sentence is the headline, under the warning."""
        if self.family <= _MOST_LISTED or len(self.results) == 1:
            found = [self._sentence(result, difference) for result, difference in self.differences]
        else:
            found = [self._counted(arm.name) for arm in self.comparison.arms[1:]]
        found += outlying_sentences(self.results)
        found += [*split_sentences(self.results), *convergence_sentences(self.comparison, self.results)]
        found += [*self._power(), *self._resolution(), *self._missing_intervals(), *self._diverged()]
        found += self._declarations()
        if changed := accepted_sentence(self.accepted):
            found.append(f"{changed}.")
        if any(result.config.selection == "paper" for result in self.results):
            found.append("The best epoch was selected by test accuracy, so all accuracies are optimistically biased.")
        found += equality_notes(self.comparison)
        if self.emulated:
            some = "The data" if all(result.emulated for result in self.results) else "Some of the data"
            found.append(f"{some} are emulated (synthetic): a check of the pipeline, not evidence about the neurons.")
        return found

    def _sentence(self, result: SettingResult, difference: Difference) -> str:
        where = f"{result.setting.name}: " if result.setting.name else ""
        summary = summarise(difference.values)
        if summary is None:
            return f"{where}{difference.label}: no seed has finished runs of both, so the difference is unknown."
        seeds = counted(summary.n, difference.pair)
        found = f"{where}{difference.label} is {points(summary.mean)} percentage points over {seeds}"
        if summary.n == 1:
            return f"{found}: one pair of runs cannot distinguish a difference from chance."
        return f"{found} ({self._evidence(result, difference)}): {self._decision(result, difference)}"

    def _evidence(self, result: SettingResult, difference: Difference) -> str:
        assert difference.p is not None
        ends = []
        if difference.interval is not None:
            ends.append(f"{_ends(difference.interval)} over {difference.pair}s")
        if difference.crossed_interval is not None:
            ends.append(f"{_ends(difference.crossed_interval)} over seeds and {difference.unit}")
        found = f"95 % interval {', '.join(ends)}; " if ends else f"the same for every {difference.pair}; "
        found += f"sign-flip p = {difference.p:.2g}"
        if self.family > 1:
            found += f", {self.adjusted(result, difference):.2g} with Holm's correction for {self.family} differences"
        verdict = self.margin_verdict(result, difference)
        return found if verdict is None else f"{found}{equivalence_evidence(verdict, self.family)}"

    def _decision(self, result: SettingResult, difference: Difference) -> str:
        summary, adjusted = summarise(difference.values), self.adjusted(result, difference)
        assert summary is not None and adjusted is not None
        verdict, margin = self.margin_verdict(result, difference), self.comparison.margin
        if verdict is not None and margin is not None:
            return margin_sentence(verdict, difference, margin)
        if adjusted <= LEVEL:
            better = difference.arm if summary.mean > 0 else difference.minus
            if difference.may_not_generalise:
                return (
                    f"{better.label} is significantly better {difference.tested_on}, but the interval over "
                    f"{difference.unit} includes zero, so this may not generalise."
                )
            return f"{better.label} is significantly better in this setting."
        if smallest_p(summary.n) * self.family > LEVEL:
            return f"no significant difference; with so few {difference.pair}s none could be significant."
        return "no significant difference."

    def _counted(self, arm: str) -> str:
        """A later arm over all settings, for designs of many settings."""
        mine = [(result, difference) for result, difference in self.differences if difference.arm.name == arm]
        label = mine[0][1].label
        there = [(result, difference) for result, difference in mine if difference.by_seed]
        if not there:
            return f"{label}: no seed has finished runs of both, so the difference is unknown."
        means = [sum(difference.values) / len(difference.values) for _, difference in there]
        shown = [
            mean
            for mean, (result, difference) in zip(means, there, strict=True)
            if (adjusted := self.adjusted(result, difference)) is not None and adjusted <= LEVEL
        ]
        found = (
            f"{label} is between {points(min(means))} and {points(max(means))} percentage points in {len(there)} "
            f"settings: positive in {sum(mean > 0 for mean in means)} "
            f"(significantly in {sum(mean > 0 for mean in shown)}), "
            f"negative in {sum(mean < 0 for mean in means)} (significantly in {sum(mean < 0 for mean in shown)}), "
            "by Holm-corrected sign-flip tests."
        )
        if self.comparison.margin is not None:
            verdicts = [self.margin_verdict(result, difference) for result, difference in there]
            decisions = [verdict.decision for verdict in verdicts if verdict is not None]
            within = f"{number(100 * self.comparison.margin, 'g')} percentage points"
            found += (
                f" Equivalent within {within} in {decisions.count('equivalent')}, different in "
                f"{decisions.count('different')}, not decided in {decisions.count('not decided')}."
            )
        return f"{found} {self._overall_sentence(arm)}".strip()

    def _overall_sentence(self, arm: str) -> str:
        values = list(self.overall(arm).values())
        interval, p = t_interval(values), self._overall_p.get(arm)
        if len(self.comparison.datasets) > 1 or interval is None or p is None:
            # A mean over different data sets has no meaning.
            return ""
        mean = sum(values) / len(values)
        several = len(self._overall_p)
        corrected = f" with Holm's correction for {several} neurons" if several > 1 else ""
        ends = f"95 % interval {_ends(interval)} over seeds; sign-flip p = {p:.2g}{corrected}"
        return f"Averaged over all settings: {points(mean)} percentage points over {len(values)} seeds ({ends})."

    @cached_property
    def _overall_p(self) -> dict[str, float | None]:
        """p of the differences averaged over the settings, by later arm, corrected for the number of later arms."""
        arms = [arm.name for arm in self.comparison.arms[1:]]
        raw = [sign_flip_p(list(self.overall(arm).values())) for arm in arms]
        every = holm([1.0 if p is None else p for p in raw])
        return {arm: None if p is None else value for arm, p, value in zip(arms, raw, every, strict=True)}

    def _power(self) -> list[str]:
        """The difference that this number of seeds can detect at the observed spread."""
        pairs = [len(difference.by_seed) for _, difference in self.differences if difference.by_seed]
        if pairs and (warning := seeds_warning(max(pairs), self.family, self.splits)):
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
            return ["At the observed spread, no difference can be detected with 80 % power; more seeds are needed."]
        most = "100" if largest > 1 else f"{100 * largest:.1f}"
        span = " to ".join(dict.fromkeys((f"{100 * smallest:.1f}", most)))
        corrected = f" with Holm's correction for {self.family} differences" if self.family > 1 else ""
        several = ", depending on the setting and neuron" if " to " in span else ""
        return [
            f"At the observed spread, the sign-flip test{corrected} has 80 % power to detect a true "
            f"difference of at least {span} percentage points on these test samples{several}; smaller ones may "
            "be missed."
        ]

    def _resolution(self) -> list[str]:
        by_samples: dict[int, dict[str, None]] = {}
        for result in self.results:
            if result.test_samples:
                by_samples.setdefault(result.test_samples, {})[result.dataset] = None
        several = len(self.comparison.datasets) > 1
        found = [
            f"Resolution{' on ' + ', '.join(names) if several else ''}: one test sample = "
            f"{100 / samples:.2f} percentage points ({samples} test samples)."
            for samples, names in by_samples.items()
        ]
        return [*found, *self._groups()]

    def _groups(self) -> list[str]:
        """Sentences on groups of related test samples; data sets with the same sentence share it."""
        by_sentence: dict[str, list[str]] = {}
        for name in self.comparison.datasets:
            grouped = [result for result in self.results if result.dataset == name and result.groups]
            if not grouped:
                continue
            groups = grouped[0].groups
            estimates = [count for one in grouped if (count := one.independent_samples) is not None]
            found = f"form {counted(groups, 'group')} of related samples"
            low, high = min(estimates, default=0.0), max(estimates, default=0.0)
            if estimates and high < (grouped[0].test_samples or 0):
                ends = dict.fromkeys(f"{end:.0f}" for end in (low, high))
                found += f", with about as much information as {' to '.join(ends)} independent samples"
            how = "The bootstrap resamples groups"
            if groups == 1:
                how = "With a single group, the bootstrap resamples seeds alone, and other intervals over samples are –"
            elif groups < _FEW_GROUPS:
                how += "; with so few groups its intervals are only rough"
            by_sentence.setdefault(f"{found}. {how}.", []).append(name)
        return [f"The test samples of {', '.join(names)} {found}" for found, names in by_sentence.items()]

    def _missing_intervals(self) -> list[str]:
        """The reasons why intervals over test samples are missing."""
        causes = list(dict.fromkeys(cause for result in self.results for cause in result.unread))
        if not causes:
            return []
        more = f"; and {len(causes) - _MOST_LISTED} more causes" if len(causes) > _MOST_LISTED else ""
        listed = "; ".join(cause.rstrip(".") for cause in causes[:_MOST_LISTED])
        return [f"Intervals over test samples are missing because: {listed}{more}."]

    def _diverged(self) -> list[str]:
        counts = {
            arm_results.arm.label: sum(len(result.arms[arm_results.arm.name].diverged) for result in self.results)
            for arm_results in self.results[0].arms.values()
        }
        listed = ", ".join(f"{label} {count}" for label, count in counts.items() if count)
        return [f"Diverged runs, which count with chance accuracy: {listed}."] if listed else []

    def _declarations(self) -> list[str]:
        declared = self.comparison.declared
        late = [entry["runs_done"] for entry in declared[1:] if entry["runs_done"]]
        if not late:
            return []
        first = declared[0]["seeds"]
        when = " and ".join(counted(done, "run") for done in late)
        return [
            f"The comparison was declared with {counted(len(first), 'seed')} of "
            f"{len(declared[0]['arms'])} neurons; more were added after {when} had finished. If their results were the "
            "reason, the p-values are too small."
        ]


def conclude(comparison: Comparison, folder: Path) -> Conclusion:
    """Read the results in a comparison's folder, and analyse them; splits that are a factor are joined."""
    outcomes: Outcomes = read_outcomes(comparison, folder)
    earlier = comparison.round_before()
    before: Outcomes | None = None if earlier is None else read_outcomes(earlier, folder)
    joined = join_splits(comparison)
    outcomes, before = joined.outcomes(outcomes), None if before is None else joined.outcomes(before)
    view = joined.comparison
    results = tuple(
        analyse_setting(view, setting, outcomes, before, joined.draws_of(setting)) for setting in view.settings
    )
    return Conclusion(view, outcomes, results, Ledger(folder).accepted())


def count_arms(arms: Sequence[Arm]) -> str:
    """The number of neurons, and of neurons that are exchanged for another during training."""
    exchanged = sum(arm.begins is not None for arm in arms)
    count = f"{len(arms) - exchanged} neurons"
    return f"{count} and {exchanged} exchange{'' if exchanged == 1 else 's'}" if exchanged else count


def seeds_warning(count: int, family: int, splits: int = 1) -> str:
    """The reason why this number of seeds cannot show a significant difference; "" if it can.

    Args:
        count: The number of pairs of runs: seeds, or seeds on splits.
        family: The number of differences that are tested.
        splits: The number of splits on which each seed is trained.
    """
    if smallest_p(count) * family <= LEVEL:
        return ""
    needed = pairs_needed(comparisons=family)
    noun = "seed" if splits == 1 else "pair"
    corrected = f", times {family} by Holm's correction for {family} differences" if family > 1 else ""
    return (
        f"{counted(count, noun)} cannot show a significant difference: the smallest possible p of the "
        f"sign-flip test is {number(smallest_p(count), '.2g')}{corrected}; p <= {LEVEL} needs at least {needed} "
        f"{noun}s (--seeds {math.ceil(needed / splits)})"
    )


def _ends(interval: tuple[float, float]) -> str:
    return " to ".join(map(points, interval))


def excluded_lines(errors: Sequence[str]) -> list[str]:
    """The excluded runs, one line each."""
    return [f"Excluded run: {message}" for message in errors]
