"""The queue of trials that are waiting, running or to be tried again; independent of Ray."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.config.run_config import RunConfig, fingerprint
from tune.trials.ledger import Ledger, TrialRecord
from tune.trials.smaller_micro_batches import halved_micro_batch
from tune.trials.trial_source import TrialSource

# Attempts for a trial whose process dies, because a machine was lost or another process used up all memory.
TRIES = 3


@dataclass(frozen=True)
class Attempt:
    """A trial, the number of this attempt, and its largest micro-batch (None for the configuration's own)."""

    config: RunConfig
    number: int = 1
    micro_batch: int | None = None


class TrialQueue:
    """Hands out the unfinished trials of a source in order, and those whose process died once more.

    Args:
        source: Provides the trials.
        ledger: Trials that it lists as finished are not run again.
        limit: Returns the number of trials that may run at once at the moment; a cluster grows and shrinks.
        accumulate: Whether a trial that ran out of memory is tried again with smaller micro-batches.
        deadline: Time from which on no trial starts, in seconds of `time.monotonic`; None for no limit.
    """

    def __init__(
        self,
        source: TrialSource,
        ledger: Ledger,
        limit: Callable[[], int],
        deadline: float | None = None,
        *,
        accumulate: bool = True,
    ) -> None:
        self._accumulate = accumulate
        self._source, self._ledger, self._limit = source, ledger, limit
        self._deadline = deadline
        self._waiting = deque(Attempt(config) for config in ledger.unfinished(source.open))
        self._running: dict[str, Attempt] = {}

    @property
    def late(self) -> bool:
        """Whether the time limit is reached: running trials stop at the end of their epoch and stay unfinished."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def finished(self) -> bool:
        """Whether nothing is running and nothing will start."""
        return not self._running and (self.late or (not self._waiting and self._source.exhausted))

    def peek(self) -> RunConfig | None:
        """The trial that starts next; None if none is waiting and the source proposes none."""
        self._fill()
        return self._waiting[0].config if self._waiting else None

    def _fill(self) -> None:
        if not self._waiting:
            self._waiting.extend(Attempt(config) for config in self._ledger.unfinished(self._source.ask()))

    def next(self) -> Attempt | None:
        """The next trial, which counts as running from now on; None if none may start at the moment."""
        if self.late or len(self._running) >= self._limit():
            return None
        self._fill()
        if not self._waiting:
            return None
        attempt = self._waiting.popleft()
        # The end that an earlier session or attempt recorded is no longer valid.
        self._ledger.reopen(attempt.config)
        self._running[fingerprint(attempt.config)] = attempt
        return attempt

    def next_attempt(self, config: RunConfig) -> int:
        """The number of the attempt for which a trial is waiting, from 1."""
        return next((attempt.number for attempt in self._waiting if attempt.config == config), 1)

    def ended(self, config: RunConfig) -> TrialRecord | None:
        """Note that a trial finished or was stopped; return its record, or None if the time limit stopped it early."""
        self._running.pop(fingerprint(config), None)
        record = self._ledger.read_done(config)
        if record is None:
            if self.late:
                return None
            record = self._ledger.end(config, "failed", "the worker exited without reporting a result")
        self._source.tell(config, record)
        return record

    def died(self, config: RunConfig, cause: str, *, out_of_memory: bool = False) -> TrialRecord | None:
        """Note that a trial's process died; return None if it is tried again, otherwise the record of its failure.

        Args:
            config: The trial.
            cause: The cause in one line.
            out_of_memory: Whether it was killed for its memory, so that it is tried again with smaller micro-batches.
        """
        attempt = self._running.pop(fingerprint(config), Attempt(config))
        record = self._ledger.read_done(config)
        if record is None and attempt.number < TRIES:
            again = replace(attempt, number=attempt.number + 1)
            if out_of_memory and self._accumulate:
                again = replace(again, micro_batch=halved_micro_batch(config, attempt.micro_batch) or 1)
            self._waiting.appendleft(again)
            return None
        record = record or self._ledger.end(config, "failed", f"its process died {TRIES} times: {cause}")
        self._source.tell(config, record)
        return record
