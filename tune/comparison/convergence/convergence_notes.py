"""Sentences on convergence: the warning above a verdict on runs that had not converged, and how epochs were chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.analysis.convergence_rule import FITTED, MOST_GAIN
from preprocess.terminal.plural import counted
from tune.comparison.comparison_plan import Comparison
from tune.comparison.setting_analysis import SettingResult

_UNASSESSED = "No run could be assessed for convergence, so the number of epochs was not increased further."

# More settings than these are counted instead of listed.
_MOST_LISTED = 4


def convergence_warning(comparison: Comparison, results: Sequence[SettingResult]) -> str:
    """The warning that runs had not converged, with their number for each arm; "" if every assessed run had."""
    open_results = [result for result in results if any(figures.unconverged for figures in result.arms.values())]
    if not open_results:
        return ""
    epochs = sorted({result.config.schedule.last_epoch for result in open_results})
    listed = " or ".join(map(str, epochs)) if len(epochs) <= _MOST_LISTED else f"{epochs[0]} to {epochs[-1]}"
    where = ""
    if len(results) > 1:
        names = ", ".join(result.setting.name for result in open_results)
        where = f" in {len(open_results)} of {len(results)} settings"
        where += f" ({names})" if len(open_results) <= _MOST_LISTED else ""
    counts = ", ".join(
        f"{label} {unconverged} of {runs}" for label, (unconverged, runs) in unconverged_counts(results).items()
    )
    return (
        f"Not trained to convergence: this compares speed of learning at {listed} "
        f"epoch{'' if epochs == [1] else 's'}{where}, not what the neurons can learn. Runs that had not converged: "
        f"{counts}. {_remedy(comparison)}"
    )


def _remedy(comparison: Comparison) -> str:
    if comparison.auto is None:
        return "`--epochs auto` trains until they have."
    return f"Epochs were doubled up to the maximum; a larger `--max-epochs` than {comparison.auto.most} continues."


def convergence_sentences(comparison: Comparison, results: Sequence[SettingResult]) -> list[str]:
    """How the number of epochs was chosen, and that every run had converged, if so."""
    assessed = sum(len(figures.convergence) for result in results for figures in result.arms.values())
    unconverged = sum(count for count, _ in unconverged_counts(results).values())
    found = []
    if comparison.auto is not None:
        found.append(_rounds_sentence(comparison, unconverged) if assessed else _UNASSESSED)
    if assessed and not unconverged:
        gain = f"the training accuracy by no more than {100 * MOST_GAIN:g} percentage points"
        shown = f"by their learning curves, twice as many epochs would raise {gain}"
        if comparison.round_before() is not None:
            # A measured gain is that of the doubling before.
            shown = (
                f"each fits {100 * FITTED:.0f} % of its training samples, or the last doubling raised {gain}, or where "
                "that was not measured, its learning curve projects so for another"
            )
        found.append(f"All {counted(assessed, 'finished run')} had converged: {shown}.")
    return found


def unconverged_counts(results: Sequence[SettingResult]) -> Mapping[str, tuple[int, int]]:
    """By arm's label, the number of runs that had not converged, and of all that were assessed."""
    found: dict[str, tuple[int, int]] = {}
    for result in results:
        for figures in result.arms.values():
            unconverged, runs = found.get(figures.arm.label, (0, 0))
            found[figures.arm.label] = unconverged + len(figures.unconverged), runs + len(figures.convergence)
    return found


def _rounds_sentence(comparison: Comparison, unconverged: int) -> str:
    assert comparison.auto is not None
    first, last = comparison.first_round().longest, comparison.longest
    factor = comparison.auto.factor
    if comparison.equally_long:
        chosen = f"doubled for all runs from {first} to {last}" if factor > 1 else f"left at {first} for all runs"
    elif factor > 1:
        chosen = f"multiplied by {factor} for all runs (the longest from {first} to {last})"
    else:
        chosen = f"left as it was for all runs (the longest: {first})"
    end = "as many as the maximum allows" if unconverged else "where every run had converged"
    return (
        f"The number of epochs was {chosen}, {end} (at most {comparison.auto.most}), by the rule of convergence alone, "
        "whatever the test accuracy."
    )
