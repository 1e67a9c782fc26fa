"""The record of a trial's end is written by its worker: after the training, and whatever that ends with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config.run_config import RunConfig, to_dict
from preprocess.errors import RunError
from tune.cluster.node_caches import NodeCaches
from tune.cluster.registered_code import pack_registrations
from tune.cluster.storage_check import write_token
from tune.cluster.trial_storage import TrialStorage
from tune.trials import worker
from tune.trials.ledger import Ledger
from tune.trials.trial_summaries import forget_summaries
from tune.trials.worker import TrialTask

CONFIG = RunConfig()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def run(ledger: Ledger, train: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a trial whose training is a function."""
    monkeypatch.setattr(worker, "_train", train)
    task = TrialTask(
        config=to_dict(CONFIG),
        open_test=False,
        accumulate=False,
        device="cpu",
        threads=1,
        micro_batch=None,
        accept_changed_code=False,
        command=(),
    )
    storage = TrialStorage(ledger.folder, write_token(ledger.folder))
    worker.run_trial({"task": task.to_dict()}, storage, NodeCaches(ledger.folder, {}), pack_registrations())


def test_a_trial_has_no_record_before_its_training_ends(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    def train(*_: Any) -> None:
        assert ledger.read_done(CONFIG) is None

    run(ledger, train, monkeypatch)
    record = ledger.read_done(CONFIG)
    assert record is not None and (record["status"], record["error"]) == ("done", None)


def test_a_trial_that_fails_is_recorded_with_its_cause(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    def train(*_: Any) -> None:
        raise RunError("the loss is not finite")

    run(ledger, train, monkeypatch)
    record = ledger.read_done(CONFIG)
    assert record is not None and (record["status"], record["error"]) == ("failed", "the loss is not finite")
    assert "RunError" in (ledger.trial_folder(CONFIG) / "error.txt").read_text()


def test_a_trial_that_is_stopped_has_no_end_of_its_own(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    """The scheduler, which stops it, records that."""

    def train(*_: Any) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        run(ledger, train, monkeypatch)
    assert ledger.read_done(CONFIG) is None


def test_summaries_that_ray_keeps_of_ended_trials_are_released():
    """They were a third of the growth of a search's process with its trials."""
    from ray.tune.trainable.metadata import _TrainingRunMetadata

    metadata = _TrainingRunMetadata()
    for metric in ("epoch", "score"):
        metadata.update_metric(metric, 1.0)
    assert metadata.metric_analysis and metadata.metric_n_steps
    forget_summaries(SimpleNamespace(run_metadata=metadata))
    assert not metadata.metric_analysis and not metadata.metric_n_steps
    forget_summaries(SimpleNamespace())
