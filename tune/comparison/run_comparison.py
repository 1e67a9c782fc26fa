"""Compare neurons: the same runs but for the neuron, paired by seed, through Ray; tables and pictures of what came."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from pipeline.config.custom_classes import is_outside
from pipeline.config.run_config import PLACE_FIELDS, flatten
from pipeline.data.run_splits import split_for
from pipeline.runs.run_folder import holding
from preprocess.errors import RunError
from preprocess.files import make_folder, write_whole
from preprocess.store.event_store import events_path, open_events
from preprocess.terminal.progress import Progress
from tune.comparison.arms import Setting
from tune.comparison.conclusions import Conclusion, conclude, missing_lines, seeds_warning
from tune.comparison.plan import FILE, Comparison, read_comparison, read_outcomes
from tune.comparison.tuning import check_tuning, tune_arms
from tune.rendering.labels import seed_words
from tune.resources.execution_options import Place
from tune.resources.storage_settings import own_storage, with_kept_storage
from tune.stats.sign_flip import detectable_difference
from tune.trials.trial_source import FixedTrials

# What each run of a comparison sets by itself, and what never changes what it computes.
_FREE_FIELDS = frozenset({"neuron.name", "seed"}) | PLACE_FIELDS


def compare(
    comparison: Comparison, folder: Path, *, place: Place | None = None, progress: Progress | None = None
) -> Conclusion:
    """Run what the folder lacks, then write its tables and figures.

    Runs are found again by the fingerprint of their configuration, so more seeds or neurons into the same folder run
    only what is new, and an interrupted comparison goes on where it stopped.

    Args:
        comparison: What to run.
        folder: The comparison's folder, made if missing.
        place: Where and how long; None is this machine, without an end.
        progress: Where to tell how far it is.

    Raises:
        RunError: If the folder holds a comparison of another name or configuration, another process works there, or
            no run came to a result.
        ConfigError: If a neuron or the split does not exist, or the tuning does not fit the settings and arms.
        CacheError: If there is no event store.
    """
    from tune.cluster.ray_session import ray_running

    progress = progress or Progress()
    # What is refused leaves nothing behind, no lock either.
    _check_runs(_with_earlier(comparison, folder))
    make_folder(folder)
    # Read again under the lock, which is held to the end: another one may have written meanwhile, and must not now.
    with holding(folder):
        comparison = _with_earlier(comparison, folder)
        done = sum(outcome.run is not None for outcome in read_outcomes(comparison, folder).values())
        comparison = comparison.declare(done)
        comparison.write(folder)
        place = with_kept_storage(folder, place or Place())
        resume = place.resume("compare", folder)
        place = own_storage(folder, place, progress)
        for line in plan_lines(comparison, folder):
            progress.note(line)
        # One Ray for all of its parts: it takes seconds to start.
        with ray_running(place.address, resume) if _several_parts(comparison) else nullcontext():
            comparison = tune_arms(comparison, folder, place=place, progress=progress, resume=resume)
            _run(comparison, folder, place, progress, resume)
        return write_conclusion(comparison, folder)


def _several_parts(comparison: Comparison) -> bool:
    return bool(comparison.tuning.space) or any(arm.begins for arm in comparison.arms)


def _run(comparison: Comparison, folder: Path, place: Place, progress: Progress, resume: str) -> None:
    """Those from which others start first."""
    from tune.trials.run_trials import run_trials

    for configs in (comparison.first_parts(), comparison.configs()):
        if configs:
            run_trials(
                FixedTrials(configs),
                folder,
                comparison.cache,
                open_test=True,
                # In pieces a network is normalised otherwise: runs would differ in more than the neuron.
                in_pieces=False,
                place=place,
                fields=[*comparison.axes, "neuron.name", "seed"],
                progress=progress,
                resume=resume,
                held=True,
            )


def plan_lines(comparison: Comparison, folder: Path) -> list[str]:
    """What is about to run, and what so few seeds cannot show: told before the first run."""
    outcomes = read_outcomes(comparison, folder).values()
    there = sum(outcome.run is not None for outcome in outcomes)
    count = len(comparison.seeds)
    epochs = sorted({setting.config.schedule.last_epoch for setting in comparison.settings})
    settings = f" in {len(comparison.settings)} settings" if len(comparison.settings) > 1 else ""
    lines = [
        f"{len(outcomes)} runs of {' or '.join(map(str, epochs))} epochs: {', '.join(comparison.labels)}{settings}, "
        f"{count} seed{'s' if count > 1 else ''} each ({seed_words(comparison.seeds)}); {there} done already"
    ]
    family = len(comparison.settings) * (len(comparison.arms) - 1)
    if warning := seeds_warning(count, family):
        return [*lines, warning]
    smallest = detectable_difference(1.0, count, comparisons=family)
    return [
        *lines,
        f"so many seeds show a difference of {smallest:.1f} times its own standard deviation over seeds, or a larger "
        "one, four times in five",
    ]


def write_conclusion(comparison: Comparison, folder: Path) -> Conclusion:
    """Write table.md, table.csv and figures/ of the runs that are there.

    Raises:
        RunError: If there is none, with the cause of the first.
    """
    from tune.comparison.figures import write_figures
    from tune.comparison.tables import csv_text, tables

    conclusion = conclude(comparison, folder)
    if not conclusion.tested:
        raise RunError(f"{folder}: no run came to a result; the first: {conclusion.errors[0]}")
    said = "".join(f"- {line}\n" for line in (*conclusion.sentences(), *missing_lines(conclusion.errors)))
    parts = [*(table.markdown() for table in tables(conclusion)), f"## What the data show\n\n{said}"]
    write_whole(folder / "table.md", lambda path: path.write_text("\n".join(parts)))
    write_whole(folder / "table.csv", lambda path: path.write_text(csv_text(conclusion)))
    write_figures(conclusion, folder / "figures")
    return conclusion


def _check_runs(comparison: Comparison) -> None:
    """Refuse at once, and before anything is written, what every run would fail of."""
    from pipeline.neurons import make_neuron

    check_tuning(comparison)
    for setting, arm in comparison.cells():
        config = comparison.config_of(setting, arm, comparison.seeds[0])
        make_neuron(replace(config.neuron, timesteps=config.binning.timesteps))
    for setting in comparison.settings:
        _check_setting(setting, comparison)


def _check_setting(setting: Setting, comparison: Comparison) -> None:
    """The split, and the classes of one's own that are trained on it."""
    store = open_events(events_path(comparison.cache, setting.config.dataset.name))
    for arm in comparison.arms:
        config = comparison.config_of(setting, arm, comparison.seeds[0])
        if is_outside(config.neuron.name) or is_outside(config.network.name):
            from tune.trials.own_classes import check_classes

            check_classes(config, store)
    split_for(setting.config, store)


def _with_earlier(comparison: Comparison, folder: Path) -> Comparison:
    """The comparison with the arms and seeds that the folder was asked for before: none is dropped after the fact.

    Raises:
        RunError: If the folder holds runs of another kind: they must never meet in one table.
    """
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found - {".lock"} and FILE not in found:
        raise RunError(f"{folder}: expected an empty folder or a comparison, found others. Choose another --out.")
    if not (folder / FILE).is_file():
        return comparison
    earlier = read_comparison(folder)
    if earlier.name != comparison.name:
        raise RunError(
            f"{folder}: holds the comparison {earlier.name}, expected {comparison.name}: their runs do not belong in "
            f"one table. Choose another --out, or go on with it: spikeloom compare --resume {folder}"
        )
    changed = [*_changed_settings(earlier, comparison), *_changed_tuning(earlier, comparison)]
    if changed:
        raise RunError(
            *(f"{folder}: holds a comparison with {line}" for line in changed),
            f"{folder}: runs of different settings do not compare. Choose another --out.",
        )
    arms = {arm.name: arm for arm in (*earlier.arms, *comparison.arms)}
    return replace(
        comparison,
        arms=tuple(arms.values()),
        seeds=tuple(sorted({*earlier.seeds, *comparison.seeds})),
        tuned=earlier.tuned,
        declared=earlier.declared,
    )


def _changed_settings(earlier: Comparison, now: Comparison) -> list[str]:
    """What settings differ in, a line each."""
    theirs = {setting.name: setting for setting in earlier.settings}
    ours = {setting.name: setting for setting in now.settings}
    if list(theirs) != list(ours):
        found = ", ".join(name or "one setting" for name in theirs)
        return [f"the settings {found}, expected {', '.join(name or 'one setting' for name in ours)}"]
    lines = []
    for name, setting in ours.items():
        there, here = flatten(theirs[name].config), flatten(setting.config)
        where = f"in {name}: " if name else ""
        lines += [
            f"{where}{path} = {there[path]}, expected {here[path]}"
            for path in here
            if path not in _FREE_FIELDS and here[path] != there[path]
        ]
    return lines


def _changed_tuning(earlier: Comparison, now: Comparison) -> list[str]:
    if earlier.tuning == now.tuning:
        return []
    theirs, ours = (" ".join(tuning.space) or "none" for tuning in (earlier.tuning, now.tuning))
    trials = earlier.tuning.trials or "all", now.tuning.trials or "all"
    return [f"tuning {theirs} ({trials[0]} trials), expected {ours} ({trials[1]})"]
