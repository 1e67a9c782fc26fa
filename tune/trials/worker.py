"""One trial inside a Ray worker: train its run folder, report every epoch, record its end."""

from __future__ import annotations

import contextlib
import traceback
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.run_config import RunConfig, fingerprint, from_dict, override
from pipeline.runs.result_json import MetricsRow, TimingRow
from preprocess.errors import RunError, SpikeloomError
from tune.cluster.node_caches import NodeCaches
from tune.cluster.registered_code import unpack_registrations
from tune.cluster.trial_storage import TrialSite, TrialStorage
from tune.trials.ledger import Ledger
from tune.trials.smaller_micro_batches import train_in_memory


@dataclass(frozen=True)
class TrialTask:
    """The task of a worker, as plain values, so that it can be Ray Tune's configuration of a trial.

    Attributes:
        config: The trial's configuration, as `pipeline.config.run_config.to_dict` gives it.
        open_test: Whether the trial is evaluated on the test set at its end.
        accumulate: Whether gradients may be accumulated over micro-batches if memory is full.
        device: The device to compute on, by the resources of the trial.
        threads: The number of CPU threads, by the resources of the trial.
        micro_batch: The largest micro-batch; None for the configuration's own.
        accept_changed_code: Whether interrupted trials continue although a custom neuron or network file changed.
        command: The command line of the search, for the record.
    """

    config: dict[str, Any]
    open_test: bool
    accumulate: bool
    device: str
    threads: int
    micro_batch: int | None
    accept_changed_code: bool
    command: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The inverse of ``TrialTask(**values)``."""
        return asdict(self)


def run_trial(parameters: dict[str, Any], storage: TrialStorage, caches: NodeCaches, registered: bytes) -> None:
    """Train the trial of a task from its start or its checkpoint, and write its `done.json`.

    When the scheduler stops a trial, the report of an epoch raises SystemExit here; the scheduler records the end.
    """
    unpack_registrations(registered)
    task = TrialTask(**parameters["task"])
    config = from_dict(task.config)
    site = storage.site(fingerprint(config))
    ledger = Ledger(site.root)
    ended = False
    try:
        try:
            site.fetch()
            if config.start_from is not None:
                site.fetch(config.start_from)
            _train(task, config, ledger, site, caches)
        except Exception as error:
            # A failed trial is a result, and the search continues. On a full disk its cause may still fit.
            with contextlib.suppress(RunError):
                ledger.write_trace(config, traceback.format_exc())
            ledger.end(config, "failed", describe(error))
        else:
            ledger.end(config, "done")
        ended = True
    finally:
        site.close(ended=ended)


def _train(task: TrialTask, config: RunConfig, ledger: Ledger, site: TrialSite, caches: NodeCaches) -> None:
    """Train; if memory is full, continue from the last checkpoint with micro-batches of half the size."""
    import numba
    import ray.tune as ray_tune

    from pipeline.training.train_run import train_run

    numba.set_num_threads(min(task.threads, numba.get_num_threads()))
    cache = caches.here(config)

    def report(row: MetricsRow, _: TimingRow) -> None:
        site.keep()
        ray_tune.report(dict(row))

    def train(size: int | None) -> None:
        train_run(
            override(config, {"device": task.device, "threads": task.threads}),
            ledger.trial_folder(config),
            cache,
            open_test=task.open_test,
            micro_batch=size,
            accept_changed_code=task.accept_changed_code,
            on_epoch=report,
            # Runs record the command that the user typed, not the one with which Ray starts its workers.
            command=task.command,
        )

    train_in_memory(train, config, task.micro_batch, accumulate=task.accumulate)


def describe(error: BaseException) -> str:
    """The cause of a failure in one line."""
    if isinstance(error, SpikeloomError):
        return error.errors[0]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
