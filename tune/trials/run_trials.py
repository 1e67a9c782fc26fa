"""Trials through Ray Tune: those that the ledger lacks, in parallel within the machine's CPUs or GPUs."""

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
from pipeline.config.run_config import RunConfig, fingerprint, from_dict
from pipeline.runs.run_folder import holding
from preprocess.building.build_frame_cache import ensure_every_frames
from preprocess.errors import RunError
from preprocess.interrupts import raise_if_stopped
from preprocess.store.event_store import events_path, open_events
from preprocess.terminal.progress import Progress
from tune.cluster.node_caches import plan_node_caches
from tune.cluster.nodes import check_software
from tune.cluster.ray_session import ray_running, stdout_without_ray
from tune.cluster.registered_code import pack_registrations
from tune.cluster.storage_check import connect_storage, write_token
from tune.cluster.trial_storage import TrialStorage
from tune.resources.allocation import TrialResources
from tune.resources.concurrency import ConcurrencyLimit, MeasuredNeeds, decide_resources, nodes_of_ray
from tune.resources.execution_options import ExecutionOptions
from tune.trials.early_stopping import EpochScheduler
from tune.trials.ledger import CODE, Ledger
from tune.trials.live_status import LiveStatus
from tune.trials.progress_view import TrialView, view_on_stderr
from tune.trials.results import differing_fields, write_results
from tune.trials.trial_queue import Attempt, TrialQueue
from tune.trials.trial_source import TrialSource
from tune.trials.worker import TrialTask, describe, run_trial

# What is written as trials end is written this seldom, and takes this share of the time at most.
_REFRESH_S = 5.0
_REFRESH_SHARE = 0.05
# Workers of a killed driver may take this long to die; they hold their trial folders until then.
_ORPHANS_S = 60.0
_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def run_trials(
    source: TrialSource,
    folder: Path,
    cache: Path,
    *,
    open_test: bool,
    count: int | None = None,
    execution: ExecutionOptions | None = None,
    to_come: Sequence[RunConfig] = (),
    early_stopping: bool = False,
    in_pieces: bool = True,
    fields: Sequence[str] | None = None,
    refresh: Callable[[], object] | None = None,
    callbacks: Sequence[ray_tune.Callback] = (),
    progress: Progress | None = None,
    resume: str = "",
    held: bool = False,
    train_samples: int | None = None,
) -> bool:
    """Run those of the trials that the folder's ledger lacks, and write what came of them as they end.

    Each trial is a run of `pipeline.training.train_run.train_run` in its ledger folder, from its checkpoint where it
    has one. A trial that fails is recorded with its cause, and the others go on; one whose process died under it is
    tried again first. Ctrl-C and SIGTERM leave finished trials in the ledger and running ones with their last
    checkpoint.

    Args:
        source: Of the trials of the search or comparison.
        folder: Of the search or comparison.
        cache: The folder of all caches; frame caches that trials lack are built before they start.
        open_test: Whether trials read the test split at their end.
        count: How many trials there will be; None is as many as the source knows already.
        execution: Where and how long trials run.
        to_come: Stand for trials that the source will ask for: each class that they may have, and the costliest.
        early_stopping: Whether poor trials are stopped before their last epoch, as `tune.trials.early_stopping` has it.
        in_pieces: Whether a trial that memory does not hold is tried again with smaller pieces of its batches.
        fields: The searched field paths, for tables; None is those that differ.
        refresh: Writes what came of the trials so far; None writes results.csv and epochs.csv. Called now and then as
            trials end, and at the end or the interruption.
        callbacks: Others that Ray tells of the trials.
        progress: Where to tell how far the frame caches are.
        resume: The command that goes on where the cluster's head was lost or the disk was full.
        held: Whether the caller holds the folder's lock already.
        train_samples: How many samples each trial trains with, for `status.json`; None where trials differ in it.

    Returns:
        Whether every trial came to an end, if only to a failure; False where the time was up before.

    Raises:
        CacheError: If there is no event store.
        ConfigError: If the device asked for is not there, or a trial fits no machine.
        RunError: If another process works in the folder, or its disk is full.
        ClusterError: If Ray does not start or the cluster does not answer.
    """
    ledger, execution = Ledger(folder), execution or ExecutionOptions()
    fields = differing_fields(source.configs) if fields is None else fields
    refresh = refresh or partial(write_results, ledger.folder, source.configs, fields)
    with contextlib.nullcontext() if held else holding(ledger.folder):
        ledger.bind(_basis([*source.configs, *to_come], cache))
        waiting = ledger.unfinished(source.open)
        try:
            if (waiting or not source.exhausted) and execution.hours != 0:
                _ensure_frames(waiting, cache, progress)
                _wait_for_orphans(ledger, waiting)
                with (
                    ray_running(execution.address, resume),
                    stdout_without_ray(),
                    view_on_stderr(ledger, source.configs, fields, count) as view,
                ):
                    todo = len(ledger.unfinished(source.configs)) + (
                        0 if count is None else count - len(source.configs)
                    )
                    driver = _Driver(
                        source, to_come, ledger, cache, view, refresh, execution, progress, resume, train_samples
                    )
                    kind = {"open_test": open_test, "in_pieces": in_pieces}
                    driver.run(max(1, todo), kind, early_stopping, callbacks)
        except BaseException:
            # What stands in the way of the results, such as a full disk, must not hide why the trials ended.
            with contextlib.suppress(RunError):
                refresh()
            raise
        refresh()
        left = [config for config in source.open if ledger.state(config) in ("started", "waiting")]
        return source.exhausted and not left


def _basis(configs: Sequence[RunConfig], cache: Path) -> dict[str, str]:
    """The data sets' fingerprints, and the hashes of the files that classes from outside come from and import."""
    names = dict.fromkeys(config.dataset.name for config in configs)
    facts = {f"data set {name}": open_events(events_path(cache, name)).fingerprint for name in names}
    for config in configs:
        facts |= {f"{CODE}{file}": sha256 for file, sha256 in source_files(outside_sources(config)).items()}
    return facts


def _ensure_frames(configs: Sequence[RunConfig], cache: Path, progress: Progress | None) -> None:
    """Build every frame cache that trials read, in one pass over the events of each data set."""
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
                raise RunError(f"{path.parent}: another process trains here. Wait for it, or stop it.") from None


class _Driver:
    """One session of trials: what is handed to Ray, and what is done as Ray tells how they end."""

    def __init__(
        self,
        source: TrialSource,
        to_come: Sequence[RunConfig],
        ledger: Ledger,
        cache: Path,
        view: TrialView,
        refresh: Callable[[], object],
        execution: ExecutionOptions,
        progress: Progress | None,
        resume: str,
        train_samples: int | None,
    ) -> None:
        self._source, self._to_come, self._ledger = source, to_come, ledger
        self._cache = cache.expanduser().absolute()
        self._view, self._refresh, self._execution, self._progress = view, refresh, execution, progress
        self._resume, self._train_samples = resume, train_samples

    def run(
        self, count: int, kind: dict[str, bool], early_stopping: bool, callbacks: Sequence[ray_tune.Callback]
    ) -> None:
        """Have Ray Tune run the trials; what it writes for itself goes to a folder that does not stay."""
        deadline = None if self._execution.hours is None else time.monotonic() + 3600 * self._execution.hours
        limit = ConcurrencyLimit()
        scheduler = EpochScheduler(self._ledger, early_stopping, lambda: queue.late)
        for config in scheduler.replay(self._source.configs):
            self._view.ended(fingerprint(config), self._ledger.read_done(config) or {})
        queue = TrialQueue(self._source, self._ledger, limit, deadline, in_pieces=kind["in_pieces"])
        # The first trial says what trials are like; where none is known, the source gives one.
        known = self._ledger.unfinished(self._source.open)
        if not known:
            first = queue.peek()
            if first is None:
                # Only asking showed that the source has no other point.
                return
            known = [first]
        # Machines join a cluster at any time; nobody else joins a Ray of our own.
        alone = self._execution.address is None and len(nodes_of_ray()) == 1
        storage = self._storage(alone)
        caches = plan_node_caches([*self._source.configs, *known], self._cache, alone=alone)
        measured = MeasuredNeeds(self._ledger.folder, self._cache, caches, self._progress)
        share = decide_resources([*known, *self._to_come], count, self._execution.request, measured, self._view.tell)
        limit.open(share, self._execution.request.concurrent)
        suggestions = _Suggestions(queue, partial(self._task, share, kind), self._prepare)
        status = LiveStatus(self._ledger.folder, self._view, self._train_samples)
        check_room = partial(self._ledger.check_room, self._resume)
        watcher = _Watcher(queue, self._view, status, self._refresh, check_room)
        resources = {"cpu": share.threads, "gpu": share.gpu}
        if share.memory:
            resources["memory"] = share.memory
        scratch = self._ledger.folder / ".ray"
        shutil.rmtree(scratch, ignore_errors=True)
        # As many actors start at once as may run: else Ray starts one after another.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(share.trials)
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(
                ray_tune.with_parameters(run_trial, storage=storage, caches=caches, registered=pack_registrations()),
                resources,
            ),
            tune_config=ray_tune.TuneConfig(
                search_alg=suggestions,
                scheduler=scheduler,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=ray_tune.RunConfig(
                name="trials", storage_path=str(scratch), callbacks=[watcher, *callbacks], verbose=0
            ),
        )
        try:
            tuner.fit()
        except Exception:
            # Ray, too, writes down how trials end.
            check_room()
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            status.close()

    def _storage(self, alone: bool) -> TrialStorage:
        """How trials come home; several machines must run the same software, and reach what they are to reach."""
        if alone and self._execution.storage is None:
            return TrialStorage(self._ledger.folder, write_token(self._ledger.folder))
        if not alone:
            check_software()
        return connect_storage(self._ledger.folder, self._execution.storage, self._progress or Progress())

    def _prepare(self, config: RunConfig) -> None:
        """What a trial needs on this machine that was not known before the first: its frame cache, its row.

        Its data and classes must be as they were in an earlier session, too.
        """
        self._ledger.bind(_basis([config], self._cache))
        _ensure_frames([config], self._cache, self._progress)
        self._view.add(config)

    def _task(self, share: TrialResources, kind: dict[str, bool], attempt: Attempt) -> dict[str, Any]:
        return TrialTask.of(
            attempt.config,
            **kind,
            device=share.device,
            threads=share.threads,
            micro_batch=attempt.micro_batch,
            accept_changed_code=bool(self._ledger.accepted()),
            command=tuple(sys.argv),
        ).to_dict()


class _Suggestions(Searcher):
    """Gives Ray the trials of a queue as it asks for them."""

    def __init__(
        self, queue: TrialQueue, task: Callable[[Attempt], dict[str, Any]], prepare: Callable[[RunConfig], None]
    ) -> None:
        super().__init__()
        self._queue, self._task, self._prepare = queue, task, prepare

    def __getstate__(self) -> dict[str, Any]:
        """Ray saves what it is given to restore it; here that is the ledger's part."""
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
        """The watcher hears more of it."""

    def save(self, checkpoint_path: str) -> None:
        """The ledger is what a resumed search starts from."""

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""


class _Watcher(ray_tune.Callback):
    """Passes on what Ray tells of the trials: to the queue, to the view and to the files."""

    def __init__(
        self,
        queue: TrialQueue,
        view: TrialView,
        status: LiveStatus,
        refresh: Callable[[], object],
        check_room: Callable[[], None],
    ) -> None:
        self._queue, self._view, self._status, self._refresh = queue, view, status, refresh
        self._check_room = check_room
        self._next_refresh = time.monotonic() + _REFRESH_S

    def __getstate__(self) -> dict[str, Any]:
        """Ray saves its callbacks to restore them; this one holds a screen, and the ledger restores what matters."""
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
        self._show(config, self._queue.ended(config), "stopped, because the time is up")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        config, cause = _config_of(trial), _cause(trial)
        self._show(config, self._queue.died(config, cause), f"its process died and it is tried again: {cause}")

    def _show(self, config: RunConfig, record: dict[str, Any] | None, otherwise: str) -> None:
        told = otherwise if record is None else record["error"] or ""
        if any(message in told for message in _FULL):
            # A machine that trains away from here may be full alone; then the trial is tried on another.
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
                # The trials go on; what stands in the way is told again at the end, where it counts.
                self._view.tell(f"results cannot be written at the moment: {describe(error)}")
            end = time.monotonic()
            self._next_refresh = end + max(_REFRESH_S, (end - start) / _REFRESH_SHARE)


def _config_of(trial: Any) -> RunConfig:
    return from_dict(trial.config["task"]["config"])


def _cause(trial: Any) -> str:
    """The last line of what Ray wrote down of a trial's error, behind Ray's own name for it where it says that."""
    try:
        lines = [line.strip() for line in Path(trial.error_file).read_text().splitlines() if line.strip()]
    except (TypeError, OSError):
        return "Ray does not say why"
    memory = "OutOfMemoryError: " if any("OutOfMemoryError" in line for line in lines) else ""
    # Behind what happened Ray lists what might have been the reason.
    told = lines[-1].partition(" Some common causes include")[0][:300]
    return told if memory in told else f"{memory}{told}"
