"""Searches of tau and learning rate for each neuron of a comparison, before it is compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.inactive_fields import is_idle
from pipeline.config.run_config import RunConfig, flatten, override
from preprocess.errors import ConfigError, RunError
from preprocess.terminal.progress import Progress
from tune.comparison.arms import Arm, Setting
from tune.comparison.plan import Comparison

if TYPE_CHECKING:
    from tune.resources.execution_options import Place


# Huang et al. (ICML 2024), Table 3, and a longer one than theirs.
TAU_GRID = ("neuron.tau=1.1,1.3,1.5,1.8,2,3",)


# For an equal budget: tau, and what decides most how fast a network learns.
BUDGET_SPACE = ("neuron.tau=1.1:4:log", "optimiser.learning_rate={low:.4g}:{high:.4g}:log")


BUDGET_TRIALS = 8


def tuning_space(fairness: str, learning_rate: float) -> tuple[str, ...]:
    """The words of the space in which each arm is tuned.

    Args:
        fairness: equal, tau-grid or equal-budget.
        learning_rate: The configuration's own, around which it is searched.

    Raises:
        ConfigError: If there is no such kind of fairness.
    """
    if fairness == "equal":
        return ()
    if fairness == "tau-grid":
        return TAU_GRID
    if fairness == "equal-budget":
        return tuple(word.format(low=learning_rate / 10, high=learning_rate * 3) for word in BUDGET_SPACE)
    raise ConfigError(f"--fairness: expected equal, tau-grid or equal-budget, found {fairness}")


def check_tuning(comparison: Comparison) -> None:
    """Refuse what a search for each arm would make untrue.

    Raises:
        ConfigError: If settings differ in what is searched, so that they would have it in name only; or if an arm
            exchanges its neuron, whose first part would be trained with what suits the second.
    """
    if not comparison.tuning.space:
        return
    searched = {word.partition("=")[0] for word in comparison.tuning.space}
    errors = [
        f"--fairness: searches {path} for each neuron, which the settings of {comparison.name} set themselves. Leave "
        "--fairness out, or compare without these settings."
        for path in sorted(searched & _set_by_settings(comparison))
    ]
    errors += [
        f"--fairness: searches a neuron from the start, but '{arm.name}' exchanges it on the way. Leave --fairness "
        "out, or name other --neurons."
        for arm in comparison.arms
        if arm.begins is not None
    ]
    if errors:
        raise ConfigError(*errors)


def _set_by_settings(comparison: Comparison) -> set[str]:
    """The axes, and what differs between settings of one preset; presets may differ in anything."""
    found = {path for setting in comparison.settings for path in setting.place}
    first: dict[Any, dict[str, Any]] = {}
    for setting in comparison.settings:
        flat = flatten(setting.config)
        one = first.setdefault(setting.place.get("preset"), flat)
        found |= {path for path in flat if flat[path] != one[path]}
    return found


def tune_arms(
    comparison: Comparison, folder: Path, *, place: Place, progress: Progress | None = None, resume: str
) -> Comparison:
    """The comparison with what a search found for every arm in every setting that has no values yet.

    Each search has as many trials, the same draws, and validation samples of its own setting; the test samples stay
    closed. A neuron that hears nothing of the space is not searched.

    Args:
        comparison: Whose arms.
        folder: The comparison's.
        place: Where and how long.
        progress: Where to tell.
        resume: The command that goes on with the comparison.

    Raises:
        RunError: If no trial of a search came to its end.
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
    place: Place,
    progress: Progress | None,
    resume: str,
) -> dict[str, Any]:
    from tune.search.options import SearchWords
    from tune.search.plan import plan_search
    from tune.search.run_search import run_search

    config = override(setting.config, {**arm.changes, "selection": "validation", "seed": comparison.seeds[0]})
    words = tuple(_entries_with_effect(comparison.tuning.space, config))
    if not words:
        return {}
    method = "grid" if comparison.tuning.trials is None else "random"
    search = plan_search(
        comparison.name,
        config,
        SearchWords(words, method, comparison.tuning.trials, scheduler="none"),
        comparison.cache,
    )
    where = folder / "tuning" / "-".join(filter(None, (setting.name, arm.name))).replace("/", "_").replace(" ", "-")
    if progress is not None:
        progress.note(f"tuning {arm.label}{f' in {setting.name}' if setting.name else ''}: {' '.join(words)}")
    findings = run_search(search, where, place=place, progress=progress, resume=resume)
    if not findings.ranked:
        raise RunError(f"{where}: no trial of the tuning is complete yet. Go on with: {resume}")
    return {path: findings.ranked[0][path] for path in search.fields}


def _entries_with_effect(space: tuple[str, ...], config: RunConfig) -> Iterator[str]:
    """The entries of a search space whose field has an effect on the neuron of a configuration."""
    values = flatten(config)
    return (entry for entry in space if not is_idle(entry.partition("=")[0], values))
