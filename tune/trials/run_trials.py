"""Run the unfinished trials of a ledger with Ray Tune, in parallel within the available CPUs, GPUs and memory."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray.tune as ray_tune
from ray.tune.search import Searcher

from pipeline.config.custom_classes import outside_sources, source_files
from pipeline.config.run_config import RunConfig, fingerprint, from_dict, to_dict
from pipeline.config.slow_precision import slow_precision
from pipeline.runs.run_folder import holding
from preprocess.building.build_frame_cache import ensure_every_frames
from preprocess.errors import RunError
from preprocess.interrupts import raise_if_stopped
from preprocess.store.imported_frames import open_dataset
from preprocess.terminal.progress import Progress
from tune.cluster.node_caches import NodeCaches, plan_node_caches
from tune.cluster.nodes import check_software
from tune.cluster.ray_session import ray_running, stdout_without_ray
from tune.cluster.registered_code import pack_registrations
from tune.cluster.storage_check import connect_storage, write_token
from tune.cluster.trial_storage import TrialStorage
from tune.resources.allocation import TrialResources
from tune.resources.concurrency_limit import ConcurrencyLimit
from tune.resources.measure_and_allocate import MeasuredNeeds, decide_resources, nodes_of_ray
from tune.trials.ledger import CODE, Ledger, TrialRecord
from tune.trials.live_status import LiveStatus
from tune.trials.process_death import read_death
from tune.trials.progress_view import TrialView, view_on_stderr
from tune.trials.queue_and_retries import TRIES, Attempt, TrialQueue
from tune.trials.results_tables import differing_fields, write_results
from tune.trials.successive_halving import EpochScheduler
from tune.trials.trial_job import TrialJob
from tune.trials.trial_source import TrialSource
from tune.trials.trial_summaries import forget_summaries
from tune.trials.worker import TrialTask, describe, run_trial

# Results are rewritten at most this often as trials end, and in at most this share of the time.
_REFRESH_S = 5.0
_REFRESH_SHARE = 0.05
# Workers of a killed driver may take this long to end; until then they hold the locks of their trial folders.
_ORPHANS_S = 60.0
_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def run_trials(
    source: TrialSource,
    job: TrialJob,
    *,
    refresh: Callable[[], object] | None = None,
    callbacks: Sequence[ray_tune.Callback] = (),
    progress: Progress | None = None,
) -> bool:
    """Run the unfinished trials of the folder's ledger, and write the results as they end.

    Each trial is a run of `pipeline.training.train_run.train_run` in its ledger folder, from its checkpoint if it has
    one. A trial that fails is recorded with its cause, and the others continue; a trial whose process died is tried
    again first. After Ctrl-C and SIGTERM the ledger keeps finished trials, and running ones keep their last checkpoint.

    Args:
        source: Provides the trials.
        job: The job, with the folder, the cache and the options of the run.
        refresh: Writes the results so far; None writes results.csv and epochs.csv. Called from time to time as trials
            end, and at the end or an interruption.
        callbacks: Further Ray Tune callbacks.
        progress: Shows the progress of building frame caches.

    Returns:
        Whether every trial has ended, including failures; False if the time limit was reached before.

    Raises:
        CacheError: If there is no event store.
        ConfigError: If the requested device does not exist, or a trial fits on no machine.
        RunError: If another process works in the folder, or its disk is full.
        ClusterError: If Ray does not start, or the cluster does not answer.
    """
    ledger = Ledger(job.folder)
    fields = differing_fields(source.configs) if job.fields is None else job.fields
    refresh = refresh or partial(write_results, ledger.folder, source.configs, fields)
    with contextlib.nullcontext() if job.locked else holding(ledger.folder):
        ledger.bind(_basis([*source.configs, *job.representatives], job.cache))
        waiting = ledger.unfinished(source.open)
        try:
            if (waiting or not source.exhausted) and job.execution.hours != 0:
                _ensure_frames(waiting, job.cache, progress)
                _wait_for_orphans(ledger, waiting)
                with (
                    ray_running(job.execution.address, job.resume, job.session),
                    stdout_without_ray(),
                    view_on_stderr(ledger, source.configs, fields, job.count) as view,
                ):
                    _Driver(source, job, ledger, view, refresh, progress).run(callbacks)
        except BaseException:
            # An error while writing the results, such as a full disk, must not hide why the trials ended.
            with contextlib.suppress(RunError):
                refresh()
            raise
        refresh()
        left = [config for config in source.open if ledger.state(config) in ("started", "waiting")]
        return source.exhausted and not left


def _basis(configs: Sequence[RunConfig], cache: Path) -> dict[str, str]:
    """The data sets' fingerprints, and the hashes of the files that define custom classes or are imported by them."""
    names = dict.fromkeys(config.dataset.name for config in configs)
    facts = {f"data set {name}": open_dataset(cache, name).fingerprint for name in names}
    for config in configs:
        sources = source_files(outside_sources(config)).items()
        facts |= {f"{CODE}{file}" if Path(file).is_absolute() else file: sha256 for file, sha256 in sources}
    return facts


def _ensure_frames(configs: Sequence[RunConfig], cache: Path, progress: Progress | None) -> None:
    """Build all missing frame caches of the trials, in one pass over the events of each data set."""
    for name in dict.fromkeys(config.dataset.name for config in configs):
        reading = [config for config in configs if config.dataset.name == name and config.input.source == "cache"]
        binnings = dict.fromkeys(config.binning.plain() for config in reading)
        ensure_every_frames(cache, name, list(binnings), progress=progress)


def _wait_for_orphans(ledger: Ledger, configs: Sequence[RunConfig]) -> None:
    from filelock import FileLock, Timeout

    for config in configs:
        path = ledger.trial_folder(config) / ".lock"
        if path.exists():
            try:
                with FileLock(path, timeout=_ORPHANS_S):
                    pass
            except Timeout:
                raise RunError(
                    f"{path.parent}: expected a free trial folder, found another process training there. "
                    "Wait for it, or stop it."
                ) from None


class _Driver:
    """One session of trials: passes them to Ray Tune, and handles their ends."""

    def __init__(
        self,
        source: TrialSource,
        job: TrialJob,
        ledger: Ledger,
        view: TrialView,
        refresh: Callable[[], object],
        progress: Progress | None,
    ) -> None:
        self._source, self._job, self._ledger = source, job, ledger
        self._cache = job.cache.expanduser().absolute()
        self._view, self._refresh, self._progress = view, refresh, progress

    def run(self, callbacks: Sequence[ray_tune.Callback]) -> None:
        """Run the trials with Ray Tune, whose own files go to a temporary folder."""
        job, remaining = self._job, self._remaining()
        deadline = None if job.execution.hours is None else time.monotonic() + 3600 * job.execution.hours
        limit = ConcurrencyLimit()
        scheduler = EpochScheduler(self._ledger, job.early_stopping, lambda: queue.late)
        for config in scheduler.replay(self._source.configs):
            record = self._ledger.read_done(config)
            assert record is not None
            self._view.ended(fingerprint(config), record)
        queue = TrialQueue(self._source, self._ledger, limit, deadline, accumulate=job.accumulate)
        # Resources are planned for the trials that are known; if there are none yet, the source proposes the first.
        known = self._ledger.unfinished(self._source.open)
        if not known:
            first = queue.peek()
            if first is None:
                # The source has no further configuration, which only this request showed.
                return
            known = [first]
        # Machines may join a cluster at any time; none joins a Ray that we started ourselves.
        alone = job.execution.address is None and len(nodes_of_ray()) == 1
        storage = self._storage(alone)
        caches = plan_node_caches([*self._source.configs, *known], self._cache, alone=alone)
        resources = self._plan_resources(known, remaining, caches)
        limit.open(resources, job.execution.request.concurrent)
        suggestions = _Suggestions(queue, partial(self._task, resources), self._prepare)
        status = LiveStatus(self._ledger.folder, self._view, job.train_samples)
        check_room = partial(self._ledger.check_room, job.resume)
        watcher = _Watcher(queue, self._ledger, self._view, status, self._refresh, check_room)
        trainable = ray_tune.with_resources(
            ray_tune.with_parameters(run_trial, storage=storage, caches=caches, registered=pack_registrations()),
            resources.for_ray(),
        )
        # All actors that may run start at once; by default Ray starts them one after another.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(resources.trials)
        try:
            self._fit(trainable, suggestions, scheduler, [watcher, *callbacks])
        except Exception:
            # Ray, too, writes files when a trial ends.
            check_room()
            raise
        finally:
            status.close()

    def _remaining(self) -> int:
        """The number of trials that are left to run, including those that the source has not proposed yet."""
        unfinished = len(self._ledger.unfinished(self._source.configs))
        return unfinished + (0 if self._job.count is None else self._job.count - len(self._source.configs))

    def _plan_resources(self, known: Sequence[RunConfig], remaining: int, caches: NodeCaches) -> TrialResources:
        """The resources of each trial, by a measurement of the most expensive one if several may run at once."""
        job = self._job
        measured = MeasuredNeeds(self._ledger.folder, self._cache, caches, self._progress)
        configs = [*known, *job.representatives]
        found = decide_resources(configs, max(1, remaining), job.execution.request, measured, self._view.note)
        slow = slow_precision(configs, found.device)
        if slow is not None:
            self._view.note(slow)
        return found

    def _fit(
        self, trainable: Any, suggestions: Searcher, scheduler: EpochScheduler, callbacks: list[ray_tune.Callback]
    ) -> None:
        scratch = self._ledger.folder / ".ray"
        shutil.rmtree(scratch, ignore_errors=True)
        tuner = ray_tune.Tuner(
            trainable,
            tune_config=ray_tune.TuneConfig(
                search_alg=suggestions,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=ray_tune.RunConfig(name="trials", storage_path=str(scratch), callbacks=callbacks, verbose=0),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _storage(self, alone: bool) -> TrialStorage:
        """Connect the trials to this folder; on several machines, also check their software and their access."""
        storage = self._job.execution.storage
        if alone and storage is None:
            return TrialStorage(self._ledger.folder, write_token(self._ledger.folder))
        if not alone:
            check_software()
        return connect_storage(self._ledger.folder, storage, self._progress or Progress())

    def _prepare(self, config: RunConfig) -> None:
        """Create the frame cache and the view's row of a trial, which may not have been known before the first one.

        Also checks that its data and classes are unchanged since an earlier session.
        """
        self._ledger.bind(_basis([config], self._cache))
        _ensure_frames([config], self._cache, self._progress)
        self._view.add(config)

    def _task(self, resources: TrialResources, attempt: Attempt) -> dict[str, Any]:
        return TrialTask(
            config=to_dict(attempt.config),
            open_test=self._job.open_test,
            accumulate=self._job.accumulate,
            device=resources.device,
            threads=resources.threads,
            micro_batch=attempt.micro_batch,
            accept_changed_code=bool(self._ledger.accepted()),
            command=tuple(sys.argv),
        ).to_dict()


class _Suggestions(Searcher):
    """Gives Ray the trials of a queue on request."""

    def __init__(
        self, queue: TrialQueue, task: Callable[[Attempt], dict[str, Any]], prepare: Callable[[RunConfig], None]
    ) -> None:
        super().__init__()
        self._queue, self._task, self._prepare = queue, task, prepare

    def __getstate__(self) -> dict[str, Any]:
        """Ray saves this object to restore it later; here the ledger does that."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        if self._queue.finished:
            return Searcher.FINISHED
        attempt = self._queue.next()
        if attempt is None:
            return None
        self._prepare(attempt.config)
        return {"task": self._task(attempt)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do: the watcher gets more details."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to do: a resumed search starts from the ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""


class _Watcher(ray_tune.Callback):
    """Passes Ray's events on to the queue, the view and the files."""

    def __init__(
        self,
        queue: TrialQueue,
        ledger: Ledger,
        view: TrialView,
        status: LiveStatus,
        refresh: Callable[[], object],
        check_room: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._queue, self._view, self._status, self._refresh = queue, view, status, refresh
        self._check_room = check_room
        self._next_refresh = time.monotonic() + _REFRESH_S

    def __getstate__(self) -> dict[str, Any]:
        """Ray saves its callbacks to restore them later; this one owns a screen, and the ledger is restored."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        raise_if_stopped()
        self._status.update()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._view.started(fingerprint(_config_of(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._view.reported(fingerprint(_config_of(trial)), result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        config = _config_of(trial)
        self._show(config, self._queue.ended(config), "stopped, because the time limit is reached")
        forget_summaries(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        config, death = _config_of(trial), read_death(trial)
        cause = death.cause
        if death.text:
            cause += f". Ray's message: {self._ledger.write_death(config, death.text) or death.last_line}"
        record = self._queue.died(config, cause, out_of_memory=death.out_of_memory)
        attempt = f"attempt {self._queue.next_attempt(config)} of {TRIES}"
        again = f"its process died and the trial is tried again, {attempt}: {cause}"
        self._show(config, record, again, death.text)

    def _show(self, config: RunConfig, record: TrialRecord | None, otherwise: str, text: str = "") -> None:
        cause = otherwise if record is None else record["error"] or ""
        if any(message in part for message in _FULL for part in (cause, text)):
            # Only the disk of a remote machine may be full; then the trial is tried on another.
            self._check_room()
        if record is None:
            self._view.interrupted(fingerprint(config), otherwise)
        else:
            self._view.ended(fingerprint(config), record)
        start = time.monotonic()
        if start > self._next_refresh:
            try:
                self._refresh()
            except Exception as error:
                # The trials continue; the error is raised again at the end, where it matters.
                self._view.note(f"results cannot be written at the moment: {describe(error)}")
            end = time.monotonic()
            self._next_refresh = end + max(_REFRESH_S, (end - start) / _REFRESH_SHARE)


def _config_of(trial: Any) -> RunConfig:
    return from_dict(trial.config["task"]["config"])
