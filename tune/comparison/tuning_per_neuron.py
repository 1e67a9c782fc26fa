"""Searches of tau and learning rate for each neuron of a comparison, before it is compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.inactive_fields import is_inactive
from pipeline.config.run_config import RunConfig, flatten, override
from preprocess.errors import ConfigError, RunError
from preprocess.terminal.progress import Progress
from tune.comparison.arms import Arm, Setting
from tune.comparison.comparison_plan import Comparison

if TYPE_CHECKING:
    from tune.resources.where_trials_run import ExecutionOptions

# The values of Huang et al. (ICML 2024), Table 3, and a longer one.
TAU_GRID = ("neuron.tau=1.1,1.3,1.5,1.8,2,3",)

# For an equal budget: tau, and the learning rate, which matters most for the speed of training.
BUDGET_SPACE = ("neuron.tau=1.1:4:log", "optimiser.learning_rate={low:.4g}:{high:.4g}:log")


def tuning_space(fairness: str, learning_rate: float) -> tuple[str, ...]:
    """The entries of the search space in which each arm is tuned.

    Args:
        fairness: equal, tau-grid or equal-budget.
        learning_rate: The configuration's own, the centre of its range.

    Raises:
        ConfigError: If there is no such tuning protocol.
    """
    if fairness == "equal":
        return ()
    if fairness == "tau-grid":
        return TAU_GRID
    if fairness == "equal-budget":
        return tuple(entry.format(low=learning_rate / 10, high=learning_rate * 3) for entry in BUDGET_SPACE)
    raise ConfigError(f"--fairness: expected equal, tau-grid or equal-budget, found {fairness}")


def check_tuning(comparison: Comparison) -> None:
    """Refuse comparisons whose settings or arms do not fit a search for each arm.

    Raises:
        ConfigError: If settings set a field that is searched, whose value the search would replace; or if an arm
            exchanges its neuron, whose first part would be trained with values tuned for the second.
    """
    if not comparison.tuning.space:
        return
    searched = {entry.partition("=")[0] for entry in comparison.tuning.space}
    errors = [
        f"--fairness: expected settings without {path}, which it searches for each neuron, found it in the settings of "
        f"{comparison.name}. Leave --fairness out, or compare without these settings."
        for path in sorted(searched & _set_by_settings(comparison))
    ]
    errors += [
        f"--fairness: expected neurons that are trained from start to end, found '{arm.name}', which is exchanged "
        "during training. Leave --fairness out, or name other --neurons."
        for arm in comparison.arms
        if arm.begins is not None
    ]
    if errors:
        raise ConfigError(*errors)


def _set_by_settings(comparison: Comparison) -> set[str]:
    """The axes, and the fields that differ between settings of one preset; presets may differ in any field."""
    found = {path for setting in comparison.settings for path in setting.place}
    first: dict[Any, dict[str, Any]] = {}
    for setting in comparison.settings:
        flat = flatten(setting.config)
        one = first.setdefault(setting.place.get("preset"), flat)
        found |= {path for path in flat if flat[path] != one[path]}
    return found


def tune_arms(
    comparison: Comparison, folder: Path, *, place: ExecutionOptions, progress: Progress | None = None, resume: str
) -> Comparison:
    """The comparison with tuned values for every arm in every setting; searches that are done are not repeated.

    Each search has the same number of trials and the same draws, and ranks by validation accuracy in its own setting;
    the test set is not used. A neuron on which no field of the space has an effect is not searched.

    Args:
        comparison: The comparison whose arms are tuned.
        folder: Its folder.
        place: Where the trials run, and for how long.
        progress: Where to report progress.
        resume: The command that continues the comparison.

    Raises:
        RunError: If no trial of a search is complete.
    """
    for setting, arm in comparison.cells():
        key = setting.name, arm.name
        if not comparison.tuning.space or key in comparison.tuned:
            continue
        found = _search(comparison, setting, arm, folder, place, progress, resume)
        comparison = replace(comparison, tuned={**comparison.tuned, key: found})
        comparison.write(folder)
    return comparison


def _search(
    comparison: Comparison,
    setting: Setting,
    arm: Arm,
    folder: Path,
    place: ExecutionOptions,
    progress: Progress | None,
    resume: str,
) -> dict[str, Any]:
    from tune.search.options import SearchOptions
    from tune.search.run_search import run_search
    from tune.search.search_plan import plan_search

    config = override(setting.config, {**arm.changes, "selection": "validation", "seed": comparison.seeds[0]})
    space = tuple(_entries_with_effect(comparison.tuning.space, config))
    if not space:
        return {}
    method = "grid" if comparison.tuning.trials is None else "random"
    search = plan_search(
        comparison.name,
        config,
        SearchOptions(space, method, comparison.tuning.trials, scheduler="none"),
        comparison.cache,
    )
    where = folder / "tuning" / "-".join(filter(None, (setting.name, arm.name))).replace("/", "_").replace(" ", "-")
    if progress is not None:
        progress.note(f"tuning {arm.label}{f' in {setting.name}' if setting.name else ''}: {' '.join(space)}")
    findings = run_search(search, where, execution=place, progress=progress, resume=resume)
    if not findings.ranked:
        raise RunError(f"{where}: expected a complete trial of the tuning, found none. Continue with: {resume}")
    return {path: findings.ranked[0][path] for path in search.fields}


def _entries_with_effect(space: tuple[str, ...], config: RunConfig) -> Iterator[str]:
    """The entries of a search space whose field has an effect on the neuron of a configuration."""
    values = flatten(config)
    return (entry for entry in space if not is_inactive(entry.partition("=")[0], values))
