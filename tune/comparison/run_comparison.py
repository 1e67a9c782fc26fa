"""Run a comparison: the same runs except for the neuron, paired by seed, with Ray; then write tables and figures."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from pipeline.config.custom_classes import is_custom
from pipeline.config.run_config import PLACE_FIELDS, flatten
from pipeline.data.run_splits import split_for
from pipeline.runs.run_folder import holding
from preprocess.errors import ConfigError, RunError
from preprocess.files import write_whole
from preprocess.store.imported_frames import check_input, open_dataset
from preprocess.terminal.progress import Progress
from tune.comparison.arms import Setting
from tune.comparison.comparison_plan import FILE, AutoEpochs, Comparison, read_comparison, read_outcomes
from tune.comparison.conclusions import Conclusion, conclude, excluded_lines
from tune.comparison.convergence.auto_epochs import check_rounds, train_rounds
from tune.comparison.convergence.convergence_table import convergence_csv
from tune.comparison.planned_runs import plan_lines
from tune.comparison.tuning_per_neuron import check_tuning, tune_arms
from tune.resources.storage_settings import own_storage, with_kept_storage
from tune.resources.where_trials_run import ExecutionOptions
from tune.trials.trial_job import TrialJob
from tune.trials.trial_source import FixedTrials

# The fields that each run of a comparison sets itself, and those that do not affect its results.
_FREE_FIELDS = frozenset({"neuron.name", "seed"}) | PLACE_FIELDS


# A column of results.csv if the rounds differ in them.
_EPOCHS = ("schedule.epochs",)


def compare(
    comparison: Comparison, folder: Path, *, place: ExecutionOptions | None = None, progress: Progress | None = None
) -> Conclusion:
    """Train the runs that the folder lacks, then write its tables and figures.

    Runs are identified by the fingerprint of their configuration: adding seeds or neurons to a folder trains only the
    new runs, and an interrupted comparison resumes where it stopped.

    Args:
        comparison: The comparison to run.
        folder: Its folder, made if missing.
        place: Where it runs, and for how long; None for this machine without a time limit.
        progress: Where to report progress.

    Raises:
        RunError: If the folder contains a comparison of another name or configuration, another process uses it, or
            no run has a result.
        ConfigError: If a neuron or the split does not exist, or the tuning does not fit the settings and arms.
        CacheError: If there is no event store.
        ClusterError: If Ray does not start, or the cluster does not answer.
    """
    from tune.cluster.ray_session import make_folder_for, ray_running

    progress = progress or Progress()
    # Checked first, so that a refused comparison leaves no files behind, not even a lock.
    _check_runs(_with_earlier(comparison, folder))
    make_folder_for(folder, place.address if place else None)
    # Read again under the lock, which is kept to the end: another process may have written in the meantime.
    with holding(folder):
        comparison = _with_earlier(comparison, folder)
        done = sum(outcome.run is not None for outcome in read_outcomes(comparison, folder).values())
        comparison = comparison.declare(done)
        comparison.write(folder)
        place = with_kept_storage(folder, place or ExecutionOptions())
        resume = place.resume("compare", folder)
        place = own_storage(folder, place, progress)
        for line in plan_lines(comparison, folder):
            progress.note(line)
        # One Ray instance for all parts, because starting it takes seconds.
        with ray_running(place.address, resume) if _several_parts(comparison) else nullcontext():
            comparison = tune_arms(comparison, folder, place=place, progress=progress, resume=resume)
            comparison = train_rounds(
                comparison, folder, lambda now: _run(now, folder, place, progress, resume), progress
            )
        return write_conclusion(comparison, folder)


def _several_parts(comparison: Comparison) -> bool:
    several_runs = comparison.auto is not None or any(arm.begins for arm in comparison.arms)
    return bool(comparison.tuning.space) or several_runs


def _run(comparison: Comparison, folder: Path, place: ExecutionOptions, progress: Progress, resume: str) -> None:
    """Train the runs, those from which exchanged neurons start first."""
    from tune.trials.run_trials import run_trials

    for configs in (comparison.first_parts(), comparison.configs()):
        if configs:
            job = TrialJob(
                folder=folder,
                cache=comparison.cache,
                execution=place,
                open_test=True,
                # Micro-batches change batch norm, so that runs would differ in more than the neuron.
                accumulate=False,
                fields=[*comparison.axes, *_EPOCHS[comparison.auto is None :], "neuron.name", "seed"],
                resume=resume,
                locked=True,
            )
            run_trials(FixedTrials(configs), job, progress=progress)


def write_conclusion(comparison: Comparison, folder: Path) -> Conclusion:
    """Write table.md, table.csv, convergence.csv and figures/ of the finished runs.

    Raises:
        RunError: If there are none, with the cause of the first.
    """
    from tune.comparison.comparison_tables import csv_text, tables
    from tune.comparison.figures.write_figures import write_figures

    conclusion = conclude(comparison, folder)
    if not conclusion.tested:
        raise RunError(f"{folder}: expected a run with a result, found none. The first run: {conclusion.errors[0]}")
    lines = "".join(f"- {line}\n" for line in (*conclusion.statements(), *excluded_lines(conclusion.errors)))
    parts = [*(table.markdown() for table in tables(conclusion)), f"## What the data show\n\n{lines}"]
    write_whole(folder / "table.md", lambda path: path.write_text("\n".join(parts)))
    write_whole(folder / "table.csv", lambda path: path.write_text(csv_text(conclusion)))
    write_whole(folder / "convergence.csv", lambda path: path.write_text(convergence_csv(conclusion)))
    write_figures(conclusion, folder / "figures")
    return conclusion


def _check_runs(comparison: Comparison) -> None:
    """Refuse, before anything is written, a comparison whose runs would all fail."""
    from pipeline.neurons import make_neuron

    check_tuning(comparison)
    check_rounds(comparison)
    for setting, arm in comparison.cells():
        config = comparison.config_of(setting, arm, comparison.seeds[0])
        make_neuron(replace(config.neuron, timesteps=config.binning.timesteps))
    for setting in comparison.settings:
        _check_setting(setting, comparison)


def _check_setting(setting: Setting, comparison: Comparison) -> None:
    """Check the split of a setting, and the custom classes that are trained on it."""
    store = open_dataset(comparison.cache, setting.config.dataset.name)
    given = setting.config.input
    check_input(store, setting.config.dataset.name, setting.config.binning, given.source, given.encoding)
    for arm in comparison.arms:
        config = comparison.config_of(setting, arm, comparison.seeds[0])
        if is_custom("neuron.name", config.neuron.name) or is_custom("network.name", config.network.name):
            from tune.trials.custom_code import check_classes

            if not check_classes(config, store) and len({other.neuron for other in comparison.arms}) > 1:
                raise ConfigError(
                    f"network.name: expected a network that makes its spiking layers with make_neuron, so that neurons "
                    f"can be compared, found '{config.network.name}', whose layers are the same for every neuron. "
                    "Add make_neuron to the arguments of its constructor and call it for each spiking layer."
                )
    split_for(setting.config, store)


def _with_earlier(comparison: Comparison, folder: Path) -> Comparison:
    """The comparison with all arms and seeds that the folder declared earlier: none is dropped after the fact.

    Raises:
        RunError: If the folder contains runs of another comparison, which must not share a table.
    """
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found - {".lock"} and FILE not in found:
        raise RunError(f"{folder}: expected an empty folder or a comparison, found other files. Choose another --out.")
    if not (folder / FILE).is_file():
        return comparison
    earlier = read_comparison(folder)
    if earlier.name != comparison.name:
        raise RunError(
            f"{folder}: expected the comparison {comparison.name}, found {earlier.name}. Choose another --out, or "
            f"continue the one that is there: spikeloom compare --resume {folder}"
        )
    changed = [
        *_changed_settings(earlier.first_round(), comparison.first_round()),
        *_changed_tuning(earlier, comparison),
        *_changed_declaration(earlier, comparison),
    ]
    if changed:
        raise RunError(
            *(f"{folder}: {line}" for line in changed),
            f"{folder}: runs with different settings cannot be compared. Choose another --out.",
        )
    arms = {arm.name: arm for arm in (*earlier.arms, *comparison.arms)}
    return replace(
        comparison,
        # With the present number of epochs, if they are doubled.
        settings=comparison.settings if comparison.auto is None else earlier.settings,
        arms=tuple(arms.values()),
        seeds=tuple(sorted({*earlier.seeds, *comparison.seeds})),
        tuned=earlier.tuned,
        declared=earlier.declared,
        auto=_raised(earlier.auto, comparison.auto),
    )


def _changed_settings(earlier: Comparison, now: Comparison) -> list[str]:
    """The differences between the settings, one line each."""
    theirs = {setting.name: setting for setting in earlier.settings}
    ours = {setting.name: setting for setting in now.settings}
    if list(theirs) != list(ours):
        found, expected = (", ".join(name or "one setting" for name in names) for names in (theirs, ours))
        return [f"expected a comparison with the settings {expected}, found the settings {found}"]
    lines = []
    for name, setting in ours.items():
        there, here = flatten(theirs[name].config), flatten(setting.config)
        where = f"in {name}: " if name else ""
        lines += [
            f"expected a comparison with {where}{path} = {here[path]}, found {there[path]}"
            for path in here
            if path not in _FREE_FIELDS and here[path] != there[path]
        ]
    return lines


def _changed_declaration(earlier: Comparison, now: Comparison) -> list[str]:
    """What was declared before the first run, so that it cannot depend on results."""
    declared = {
        "--margin": (_percent(earlier.margin), _percent(now.margin)),
        "--speed-at": (_percent(earlier.speed_at), _percent(now.speed_at)),
        "--epochs": ("auto" if earlier.auto else "none", "auto" if now.auto else "none"),
    }
    return [
        f"expected {option} {there}, as declared before the first run, found {here}"
        for option, (there, here) in declared.items()
        if there != here
    ]


def _raised(earlier: AutoEpochs | None, now: AutoEpochs | None) -> AutoEpochs | None:
    """The present doubling with the larger maximum: what is trained depends on training alone, not on test results."""
    return None if earlier is None or now is None else replace(earlier, most=max(earlier.most, now.most))


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:g}"


def _changed_tuning(earlier: Comparison, now: Comparison) -> list[str]:
    if earlier.tuning == now.tuning:
        return []
    theirs, ours = (
        f"{' '.join(tuning.space) or 'none'} ({tuning.trials or 'all'} trials)"
        for tuning in (earlier.tuning, now.tuning)
    )
    return [f"expected a comparison with tuning {ours}, found tuning {theirs}"]
