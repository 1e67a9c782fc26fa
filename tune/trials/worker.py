"""One trial inside a Ray worker: train its run folder, report every epoch, record its end."""

from __future__ import annotations

import contextlib
import sys
import traceback
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.run_config import RunConfig, fingerprint, from_dict, override, to_dict
from pipeline.runs.result import MetricsRow, TimingRow
from preprocess.errors import FullMemoryError, RunError, SpikeloomError
from tune.cluster.node_caches import NodeCaches
from tune.cluster.registered_code import unpack_registrations
from tune.cluster.trial_storage import TrialSite, TrialStorage
from tune.trials.ledger import Ledger


@dataclass(frozen=True)
class TrialTask:
    """What a worker is told; plain values, so that it travels as Ray Tune's configuration of a trial.

    Attributes:
        config: The trial's, as `pipeline.config.run_config.to_dict` gives it.
        open_test: Whether the trial reads the test split at its end.
        in_pieces: Whether batches may be cut into pieces where memory is full.
        device: Where to compute, by the resources that the trial got.
        threads: How many CPU threads to compute with, likewise.
        micro_batch: The largest piece of a batch that may be held at once; None is what the configuration says.
        accept_changed_code: Whether interrupted trials go on although their own neuron or network file changed.
        command: The command line of the search, for the record.
    """

    config: dict[str, Any]
    open_test: bool
    in_pieces: bool
    device: str
    threads: int
    micro_batch: int | None
    accept_changed_code: bool
    command: tuple[str, ...]

    @classmethod
    def of(cls, config: RunConfig, **others: Any) -> TrialTask:
        return cls(to_dict(config), **others)

    def to_dict(self) -> dict[str, Any]:
        """The inverse of ``Order(**values)``."""
        return asdict(self)


def run_trial(parameters: dict[str, Any], storage: TrialStorage, caches: NodeCaches, registered: bytes) -> None:
    """Train the trial of an order from its start or its checkpoint, and write its `done.json`.

    A trial that the scheduler stops leaves by SystemExit out of the report of an epoch; the scheduler records it.
    """
    unpack_registrations(registered)
    task = TrialTask(**parameters["task"])
    config = from_dict(task.config)
    site = storage.site(fingerprint(config))
    ledger = Ledger(site.root)
    # The record of a run says what the user typed, not how Ray starts its workers.
    sys.argv = list(task.command)
    ended = False
    try:
        try:
            site.fetch()
            if config.start_from is not None:
                site.fetch(config.start_from)
            _train(task, config, ledger, site, caches)
        except Exception as error:
            # A trial that fails is a result, and the search goes on. Where the disk is full its cause may find room.
            with contextlib.suppress(RunError):
                ledger.write_trace(config, traceback.format_exc())
            ledger.end(config, "failed", describe(error))
        else:
            ledger.end(config, "done")
        ended = True
    finally:
        site.close(ended=ended)


def _train(task: TrialTask, config: RunConfig, ledger: Ledger, site: TrialSite, caches: NodeCaches) -> None:
    """Train; where memory is full, go on with batches in pieces of half the size, from the last checkpoint."""
    import numba
    import ray.tune as ray_tune

    from pipeline.runtime.device import free_memory
    from pipeline.training.train_run import train_run

    numba.set_num_threads(min(task.threads, numba.get_num_threads()))
    piece, cache = task.micro_batch, caches.here(config)

    def report(row: MetricsRow, _: TimingRow) -> None:
        site.keep()
        ray_tune.report(dict(row))

    while True:
        try:
            train_run(
                override(config, {"device": task.device, "threads": task.threads}),
                ledger.trial_folder(config),
                cache,
                open_test=task.open_test,
                micro_batch=piece,
                accept_changed_code=task.accept_changed_code,
                on_epoch=report,
            )
            return
        except FullMemoryError:
            piece = (piece or config.micro_batch or config.batch_size) // 2
            if piece < 1 or not task.in_pieces:
                raise
        free_memory()


def describe(error: BaseException) -> str:
    """The cause of a failure in one line."""
    if isinstance(error, SpikeloomError):
        return error.errors[0]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
