"""`--epochs auto`: all runs are trained again for twice as many epochs until every one of them has converged.

Each round trains every arm in every setting with every seed, from scratch and with the schedule stretched to its number
of epochs, so that all arms have the same. A run has converged by the rule of `pipeline.analysis.convergence_rule`;
from the second round on, the gain that doubling the epochs brought is measured instead of projected. Test results play
no part, so that stopping does not depend on the differences that are tested. The number of epochs is recorded in
`comparison.json` before the first run of a round, and finished runs are kept: an interrupted comparison continues in
its round.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from preprocess.errors import ConfigError
from preprocess.terminal.plural import counted
from preprocess.terminal.progress import Progress
from tune.comparison.comparison_plan import AutoEpochs, Comparison
from tune.comparison.conclusions import conclude

# The default maximum allows three doublings.
_MOST_TIMES = 8


def auto_epochs(comparison: Comparison, most: int | None) -> AutoEpochs:
    """The doubling of a comparison's epochs up to this number; None is eight times that of the first round."""
    return AutoEpochs(_MOST_TIMES * comparison.longest if most is None else most)


def check_rounds(comparison: Comparison) -> None:
    """Refuse comparisons whose epochs cannot be doubled for all arms alike.

    Raises:
        ConfigError: If settings differ in their schedule, a run stops before its schedule's end, or the maximum is less
            than the number of epochs that the first round has.
    """
    if comparison.auto is None:
        return
    first = comparison.first_round()
    schedules = {path for setting in first.settings for path in setting.place if path.startswith("schedule.")}
    errors = [
        f"--epochs auto: expected settings of one schedule, found {path} as a factor. Leave one of them out."
        for path in sorted(schedules)
    ]
    errors += [
        f"--epochs auto: expected neurons that are trained from start to end, found '{arm.name}', which is exchanged "
        "after a given epoch. Leave --epochs out, or name other --neurons."
        for arm in first.arms
        if arm.begins is not None
    ]
    for name in ("stop_epoch", "patience"):
        if any(getattr(setting.config.schedule, name) is not None for setting in first.settings):
            errors.append(f"--epochs auto: expected no schedule.{name}, found one. Leave one of them out.")
    if not errors and first.longest > comparison.auto.most:
        errors.append(
            f"--max-epochs: expected at least {first.longest}, the number of epochs of the first round, found "
            f"{comparison.auto.most}. Raise it, or lower --schedule.epochs."
        )
    if errors:
        raise ConfigError(*errors)


def train_rounds(
    comparison: Comparison, folder: Path, train: Callable[[Comparison], None], progress: Progress
) -> Comparison:
    """Train the runs, and further rounds with twice the epochs until every run has converged or the maximum is reached.

    Args:
        comparison: The comparison, in the round that its folder records.
        folder: Its folder.
        train: Trains the runs of a comparison that the folder lacks.
        progress: Where to report each doubling.

    Returns:
        The comparison in its last round.
    """
    while True:
        train(comparison)
        if comparison.auto is None:
            return comparison
        results = conclude(comparison, folder).results
        arms = [arm_results for result in results for arm_results in result.arms.values()]
        open_runs = sum(len(arm_results.unconverged) for arm_results in arms)
        runs = sum(len(arm_results.convergence) for arm_results in arms)
        if not runs:
            progress.note("no run could be assessed for convergence: epochs are not doubled")
            return comparison
        said = f"{open_runs} of {counted(runs, 'run')} had not converged after {_epochs(comparison)}"
        if not open_runs or 2 * comparison.longest > comparison.auto.most:
            progress.note(f"{said}{_end(comparison, open_runs)}")
            return comparison
        names = dict.fromkeys(arm_results.arm.name for arm_results in arms if arm_results.unconverged)
        added = _only_added(comparison, tuple(names))
        comparison = comparison.stretched(2)
        progress.note(f"{said}: all runs are trained again for {_epochs(comparison)}{added}")
        comparison.write(folder)


def _epochs(comparison: Comparison) -> str:
    """The number of epochs, which presets of one comparison may differ in."""
    up_to = "" if comparison.equally_long else "up to "
    return f"{up_to}{counted(comparison.longest, 'epoch')}"


def _only_added(comparison: Comparison, unconverged: tuple[str, ...]) -> str:
    """That results seen before will change, if only arms that were added later had not converged; "" otherwise."""
    added = comparison.added_arms
    if not unconverged or not all(name in added for name in unconverged):
        return ""
    labels = ", ".join(arm.label for arm in comparison.arms if arm.name in unconverged)
    return f"; only {labels}, added later, had not converged, and the results of all other neurons change with theirs"


def _end(comparison: Comparison, open_runs: int) -> str:
    assert comparison.auto is not None
    return f"; doubling ends at --max-epochs {comparison.auto.most}" if open_runs else ""
