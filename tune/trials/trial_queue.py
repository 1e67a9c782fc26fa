"""The trials that wait, run and are tried again: what the next free place gets. Knows nothing of Ray."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.run_config import RunConfig, fingerprint
from tune.trials.ledger import Ledger
from tune.trials.trial_source import TrialSource

# How often a trial is tried whose process died under it: of a lost node, or of a neighbour that took all memory.
TRIES = 3
# What Ray names the death of a worker that its memory monitor killed.
_OUT_OF_MEMORY = "OutOfMemoryError"


@dataclass(frozen=True)
class Attempt:
    """A trial, how often it was tried before, and the largest piece of a batch that it may hold at once."""

    config: RunConfig
    number: int = 1
    micro_batch: int | None = None


class TrialQueue:
    """Hands out the unfinished trials of a source, in order, and those whose process died once more.

    Args:
        source: Where trials come from.
        ledger: What is finished already is not run again.
        places: How many trials may run at once, as it is now; a cluster grows and shrinks.
        in_pieces: Whether a trial that took all memory comes back with smaller pieces of its batches.
        deadline: No trial starts from then on, in seconds of `time.monotonic`; None is never.
    """

    def __init__(
        self,
        source: TrialSource,
        ledger: Ledger,
        places: Callable[[], int],
        deadline: float | None = None,
        *,
        in_pieces: bool = True,
    ) -> None:
        self._in_pieces = in_pieces
        self._source, self._ledger, self._places = source, ledger, places
        self._deadline = deadline
        self._waiting = deque(Attempt(config) for config in ledger.unfinished(source.open))
        self._running: dict[str, Attempt] = {}

    @property
    def late(self) -> bool:
        """Whether the time is used up: running trials stop at the end of their epoch and stay unfinished."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing will."""
        return not self._running and (self.late or (not self._waiting and self._source.exhausted))

    def peek(self) -> RunConfig | None:
        """The trial that comes next; None where none waits and the source gives none at once: nothing is left."""
        self._fill()
        return self._waiting[0].config if self._waiting else None

    def _fill(self) -> None:
        if not self._waiting:
            self._waiting.extend(Attempt(config) for config in self._ledger.unfinished(self._source.ask()))

    def next(self) -> Attempt | None:
        """The next trial, from now on running; None where none may start at the moment."""
        if self.late or len(self._running) >= self._places():
            return None
        self._fill()
        if not self._waiting:
            return None
        attempt = self._waiting.popleft()
        # What an earlier session or try recorded of its end no longer holds.
        self._ledger.reopen(attempt.config)
        self._running[fingerprint(attempt.config)] = attempt
        return attempt

    def ended(self, config: RunConfig) -> dict[str, Any] | None:
        """A trial came to its end by itself or was stopped; its record, None where the time was up before its end."""
        self._running.pop(fingerprint(config), None)
        record = self._ledger.read_done(config)
        if record is None:
            if self.late:
                return None
            record = self._ledger.end(config, "failed", "it ended without a word")
        self._source.tell(config, record)
        return record

    def died(self, config: RunConfig, cause: str) -> dict[str, Any] | None:
        """A trial's process died under it; None where it is tried again, else the record of its failure."""
        attempt = self._running.pop(fingerprint(config), Attempt(config))
        record = self._ledger.read_done(config)
        if record is None and attempt.number < TRIES:
            again = replace(attempt, number=attempt.number + 1)
            if _OUT_OF_MEMORY in cause and self._in_pieces:
                held = attempt.micro_batch or config.micro_batch or config.batch_size
                again = replace(again, micro_batch=max(1, held // 2))
            self._waiting.appendleft(again)
            return None
        record = record or self._ledger.end(config, "failed", f"its process died {TRIES} times: {cause}")
        self._source.tell(config, record)
        return record
