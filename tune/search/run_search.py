"""Run a search: the trials that its folder lacks, through Ray, ranked by validation accuracy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.runs.run_folder import holding
from preprocess.errors import RunError
from preprocess.terminal.progress import Progress
from tune.resources.storage_settings import own_storage, with_kept_storage
from tune.resources.where_trials_run import ExecutionOptions
from tune.search.search_findings import Findings, write_findings, write_tables
from tune.search.search_plan import FILE, Search, read_search
from tune.trials.trial_job import TrialJob
from tune.trials.trial_source import FixedTrials, TrialSource

if TYPE_CHECKING:
    from tune.cluster.ray_session import RaySession


def run_search(
    search: Search,
    folder: Path,
    *,
    execution: ExecutionOptions | None = None,
    callbacks: Sequence[Any] = (),
    progress: Progress | None = None,
    resume: str | None = None,
    session: RaySession | None = None,
) -> Findings:
    """Run the unfinished trials of the folder, and write results as trials end, and at the end or an interruption.

    Args:
        search: The plan.
        folder: The search's folder, created if missing.
        execution: Where and how long trials run; None for this machine without a time limit.
        callbacks: Further Ray Tune callbacks.
        progress: Shows the progress of building frame caches.
        resume: The command that resumes after the cluster's head was lost, if it is not the search's own.
        session: The Ray session that the search shares with earlier and later steps.

    Raises:
        RunError: If the folder contains something else, or no trial was completed, with the causes.
        ConfigError: If the device does not exist, or a trial fits on no machine.
        CacheError: If there is no event store.
        ClusterError: If Ray does not start, or the cluster does not answer.
    """
    from tune.cluster.ray_session import make_folder_for
    from tune.search.extreme_configs import extreme_configs
    from tune.trials.run_trials import run_trials

    _check_folder(search, folder)
    make_folder_for(folder, execution.address if execution else None)
    # Under the lock: a search that is running there already keeps its own plan.
    with holding(folder):
        if not (folder / FILE).exists():
            search.write(folder)
        search = read_search(folder)
        execution = with_kept_storage(folder, execution or ExecutionOptions())
        resume = resume or execution.resume("tune", folder)
        execution = own_storage(folder, execution, progress)
    source, current = _source(search, folder)
    job = TrialJob(
        folder=folder,
        cache=search.cache,
        execution=execution,
        count=search.runs,
        representatives=tuple(extreme_configs(search)),
        early_stopping=search.scheduler == "asha",
        fields=search.fields,
        train_samples=search.data.train,
        resume=resume,
        session=session,
    )
    try:
        complete = run_trials(
            source, job, refresh=lambda: write_tables(current(), folder), callbacks=callbacks, progress=progress
        )
    except BaseException:
        # An error while writing the results, such as a full disk, must not hide why the search ended.
        with contextlib.suppress(RunError):
            write_findings(current(), folder)
        raise
    findings = replace(write_findings(current(), folder), complete=complete)
    if complete and not findings.ranked:
        causes = dict.fromkeys(findings.errors.values())
        raise RunError(f"{folder}: no trial was completed, because:", *causes)
    return findings


def _source(search: Search, folder: Path) -> tuple[TrialSource, Callable[[], Search]]:
    """The source of the trials, and a function that returns the search with those proposed so far."""
    if search.traits.source is None:
        return FixedTrials(search.configs()), lambda: search
    source = search.traits.source(search, folder)
    return source, lambda: source.search


def _check_folder(search: Search, folder: Path) -> None:
    """Refuse a folder that contains anything other than this search."""
    if not (folder / FILE).exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(f"{folder}: expected an empty folder or a search, found other files. Choose another --out.")
        return
    there = read_search(folder)
    if search.traits.adaptive:
        search, there = replace(search, trials=()), replace(there, trials=())
    if there != search:
        raise RunError(
            f"{folder}: expected this search, found another one. Resume that one: spikeloom tune --resume {folder}; or "
            "choose another --out."
        )
