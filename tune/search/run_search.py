"""A search: the trials that its folder lacks, through Ray, ranked by validation accuracy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.runs.run_folder import holding
from preprocess.errors import RunError
from preprocess.files import make_folder
from preprocess.terminal.progress import Progress
from tune.resources.execution_options import ExecutionOptions
from tune.resources.storage_settings import own_storage, with_kept_storage
from tune.search.plan import FILE, Search, read_search
from tune.search.results import Findings, write_findings, write_tables
from tune.trials.trial_source import FixedTrials, TrialSource


def run_search(
    search: Search,
    folder: Path,
    *,
    execution: ExecutionOptions | None = None,
    callbacks: Sequence[Any] = (),
    progress: Progress | None = None,
    resume: str | None = None,
) -> Findings:
    """Run what the folder lacks, and write what came of it: as trials end, and at the end or the interruption.

    Args:
        search: What to run.
        folder: The search's folder, made if missing.
        execution: Where and how long; None is this machine, without an end.
        callbacks: Others that Ray tells of the trials.
        progress: Where to tell how far the frame caches are.
        resume: The command that goes on where the cluster's head was lost, if another than the search's own.

    Raises:
        RunError: If the folder holds something else, or no trial came to its end, with the causes.
        ConfigError: If the device is not there, or a trial fits no machine.
        CacheError: If there is no event store.
        ClusterError: If Ray does not start or the cluster does not answer.
    """
    from tune.search.extreme_configs import extreme_configs
    from tune.trials.run_trials import run_trials

    _check_folder(search, folder)
    make_folder(folder)
    # Under the lock: a search that runs there already keeps its own.
    with holding(folder):
        if not (folder / FILE).exists():
            search.write(folder)
        search = read_search(folder)
        execution = with_kept_storage(folder, execution or ExecutionOptions())
        resume = resume or execution.resume("tune", folder)
        execution = own_storage(folder, execution, progress)
    source, now = _source(search, folder)
    try:
        complete = run_trials(
            source,
            folder,
            search.cache,
            open_test=False,
            count=search.runs,
            execution=execution,
            to_come=extreme_configs(search),
            early_stopping=search.scheduler == "asha",
            fields=search.fields,
            refresh=lambda: write_tables(now(), folder),
            callbacks=callbacks,
            progress=progress,
            resume=resume,
            train_samples=search.data.train,
        )
    except BaseException:
        # What stands in the way of the results must not hide why the search ended.
        with contextlib.suppress(RunError):
            write_findings(now(), folder)
        raise
    findings = write_findings(now(), folder)
    findings = replace(findings, complete=complete)
    if complete and not findings.ranked:
        causes = dict.fromkeys(findings.errors.values())
        raise RunError(f"{folder}: no trial came to its end, because:", *causes)
    return findings


def _source(search: Search, folder: Path) -> tuple[TrialSource, Callable[[], Search]]:
    """Where the trials come from, and how to read the search with those that were asked for so far."""
    if search.method == "tpe":
        from tune.search.tpe import TpeTrials

        tpe = TpeTrials(search, folder)
        return tpe, lambda: tpe.search
    if search.method == "pbt":
        from tune.search.pbt import PopulationTrials

        population = PopulationTrials(search, folder)
        return population, lambda: population.search
    return FixedTrials(search.configs()), lambda: search


def _check_folder(search: Search, folder: Path) -> None:
    """Refuse a folder that holds anything but this very search."""
    if not (folder / FILE).exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(f"{folder}: expected an empty folder or a search, found other files. Choose another --out.")
        return
    there = read_search(folder)
    if search.grows:
        search, there = replace(search, trials=()), replace(there, trials=())
    if there != search:
        raise RunError(
            f"{folder}: holds another search. Go on with that one: spikeloom tune --resume {folder}; or choose another "
            "--out."
        )
