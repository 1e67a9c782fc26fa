"""What the next free place gets: order, retries, the end of the time, and sources that wait for others to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ledger_rows import begin, rows

from pipeline.config.run_config import RunConfig, override
from tune.trials.ledger import Ledger
from tune.trials.queue_and_retries import TRIES, TrialQueue
from tune.trials.trial_source import FixedTrials

TRIALS = [override(RunConfig(), {"neuron.tau": tau, "batch_size": 16}) for tau in (1.5, 2.0, 3.0)]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def queue_of(ledger: Ledger, trials: Sequence[RunConfig] = TRIALS, places: int = 2, **others: Any) -> TrialQueue:
    return TrialQueue(FixedTrials(trials), ledger, lambda: places, **others)


def taken(queue: TrialQueue) -> RunConfig:
    attempt = queue.next()
    assert attempt is not None
    return attempt.config


def end(ledger: Ledger, config: RunConfig, status: Any = "done") -> None:
    begin(ledger, config, rows(0.5))
    ledger.end(config, status)


def test_unfinished_trials_come_in_order_and_no_more_at_once_than_there_are_places(ledger: Ledger):
    end(ledger, TRIALS[1])
    queue = queue_of(ledger, places=1)
    assert taken(queue) == TRIALS[0]
    assert queue.next() is None and not queue.finished
    end(ledger, TRIALS[0])
    record = queue.ended(TRIALS[0])
    assert record is not None and record["status"] == "done"
    assert taken(queue) == TRIALS[2]
    end(ledger, TRIALS[2], "pruned")
    queue.ended(TRIALS[2])
    assert queue.finished and queue.next() is None


def test_trial_whose_process_died_is_tried_again_first_and_then_failed(ledger: Ledger):
    queue = queue_of(ledger)
    first = taken(queue)
    for attempt in range(2, TRIES + 1):
        assert queue.died(first, "worker lost") is None
        assert queue.next_attempt(first) == attempt
        assert not queue.finished
        assert taken(queue) == first
    record = queue.died(first, "worker lost")
    assert record is not None and record["error"] == "its process died 3 times: worker lost"
    assert taken(queue) == TRIALS[1]


def test_a_failed_trial_that_starts_again_has_no_end(ledger: Ledger):
    end(ledger, TRIALS[0], "failed")
    ledger.write_trace(TRIALS[0], "a traceback")
    assert taken(queue_of(ledger)) == TRIALS[0]
    assert ledger.state(TRIALS[0]) == "started"
    assert not (ledger.trial_folder(TRIALS[0]) / "error.txt").exists()


def test_trial_that_took_all_memory_comes_back_in_halves(ledger: Ledger):
    queue = queue_of(ledger)
    first = taken(queue)
    pieces = []
    for _ in range(TRIES - 1):
        queue.died(first, "memory was full", out_of_memory=True)
        attempt = queue.next()
        assert attempt is not None
        pieces.append(attempt.micro_batch)
    assert pieces == [8, 4]


def test_trial_that_asks_for_pieces_comes_back_in_smaller_ones(ledger: Ledger):
    queue = queue_of(ledger, [override(TRIALS[0], {"micro_batch": 4})])
    queue.died(taken(queue), "memory was full", out_of_memory=True)
    attempt = queue.next()
    assert attempt is not None and attempt.micro_batch == 2


def test_run_of_a_comparison_never_comes_back_in_pieces(ledger: Ledger):
    queue = queue_of(ledger, accumulate=False)
    queue.died(taken(queue), "memory was full", out_of_memory=True)
    attempt = queue.next()
    assert attempt is not None and attempt.micro_batch is None


def test_trial_that_died_behind_its_record_is_done(ledger: Ledger):
    """Its process was killed between the record and its word to Ray."""
    queue = queue_of(ledger)
    first = taken(queue)
    end(ledger, first)
    record = queue.died(first, "worker lost")
    assert record is not None and record["status"] == "done"


def test_nothing_starts_when_the_time_is_up_and_what_runs_has_no_end(ledger: Ledger):
    queue = queue_of(ledger, deadline=0.0)
    assert queue.late and queue.finished and queue.next() is None
    assert queue.ended(TRIALS[0]) is None
    assert ledger.read_done(TRIALS[0]) is None


class Waves:
    """A source of a trial, and then of the others once that has ended."""

    def __init__(self) -> None:
        self.configs: list[RunConfig] = []
        self.told: list[str] = []

    @property
    def open(self) -> Sequence[RunConfig]:
        return self.configs

    @property
    def exhausted(self) -> bool:
        return len(self.configs) == len(TRIALS)

    def ask(self) -> Sequence[RunConfig]:
        if self.exhausted or (self.configs and not self.told):
            return ()
        new = TRIALS[1:] if self.configs else TRIALS[:1]
        self.configs += new
        return new

    def tell(self, config: RunConfig, record: Mapping[str, Any]) -> None:
        self.told.append(record["status"])


def test_source_that_waits_for_others_to_end_is_asked_again(ledger: Ledger):
    source = Waves()
    queue = TrialQueue(source, ledger, lambda: 2)
    assert queue.peek() == TRIALS[0]
    assert taken(queue) == TRIALS[0]
    assert queue.next() is None and not queue.finished
    end(ledger, TRIALS[0])
    queue.ended(TRIALS[0])
    assert source.told == ["done"]
    assert [taken(queue), taken(queue)] == TRIALS[1:]


def test_trial_whose_worker_exited_without_a_result_failed(ledger: Ledger):
    queue = queue_of(ledger)
    record = queue.ended(taken(queue))
    assert record is not None and (record["status"], record["error"]) == (
        "failed",
        "the worker exited without reporting a result",
    )


class Nothing(Waves):
    """A source that finds out as it is asked that there is nothing more."""

    asked = False

    @property
    def exhausted(self) -> bool:
        return self.asked

    def ask(self) -> Sequence[RunConfig]:
        self.asked = True
        return ()


def test_source_that_has_no_other_trial_leaves_nothing_to_look_at(ledger: Ledger):
    queue = TrialQueue(Nothing(), ledger, lambda: 2)
    assert not queue.finished
    assert queue.peek() is None and queue.finished
