"""Where and how long trials run, as the command line has it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tune.resources.allocation import ResourceRequest


@dataclass(frozen=True)
class ExecutionOptions:
    """Where and how long trials run; never what they compute.

    Attributes:
        address: Of a Ray cluster; None uses the Ray that this process has, or starts one on this machine.
        asked: What each trial gets.
        storage: A path or URL for the trials' checkpoints; None keeps them in the search's folder.
        hours: The time after which no trial starts and running ones stop at the end of their epoch; None has no end.
    """

    address: str | None = None
    request: ResourceRequest = field(default_factory=ResourceRequest)
    hours: float | None = None
    storage: str | None = None

    def after(self, seconds: float) -> ExecutionOptions:
        """The same once so many seconds of its time are used up; 0 hours are left where all of it is."""
        return self if self.hours is None else replace(self, hours=max(0.0, self.hours - seconds / 3600))

    def resume(self, verb: str, folder: Path) -> str:
        """The command that goes on with the search (verb tune) or comparison (compare) of a folder, at this place."""
        words = ["spikeloom", verb, "--resume", str(folder.expanduser().absolute())]
        for flag, value in (("--address", self.address), ("--storage", self.storage)):
            words += [] if value is None else [flag, value]
        return shlex.join(words)

    def errors(self) -> Iterator[str]:
        """Every fault, a line each."""
        yield from self.request.errors()
        if self.hours is not None and not 0 < self.hours < math.inf:
            yield f"--hours: expected more than 0, found {self.hours}"
