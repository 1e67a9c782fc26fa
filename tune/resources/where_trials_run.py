"""Where and how long trials run, as the command line gives it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tune.resources.allocation import ResourceRequest


@dataclass(frozen=True)
class ExecutionOptions:
    """Where and how long trials run; does not change what they compute.

    Attributes:
        address: The address of a Ray cluster; None uses the Ray of this process, or starts one on this machine.
        request: The requested resources of each trial.
        hours: The time limit after which no trial starts and running ones stop at the end of their epoch; None for no
            limit.
        storage: A path or URL for the trials' checkpoints; None keeps them in the search's folder.
    """

    address: str | None = None
    request: ResourceRequest = field(default_factory=ResourceRequest)
    hours: float | None = None
    storage: str | None = None

    def after(self, seconds: float) -> ExecutionOptions:
        """The same options once some seconds of the time limit are used up; 0 hours are left at the limit."""
        return self if self.hours is None else replace(self, hours=max(0.0, self.hours - seconds / 3600))

    def resume(self, command: str, folder: Path) -> str:
        """The command that resumes the search (tune) or comparison (compare) of a folder with these options."""
        argv = ["spikeloom", command, "--resume", str(folder.expanduser().absolute())]
        for flag, value in (("--address", self.address), ("--storage", self.storage)):
            argv += [] if value is None else [flag, value]
        return shlex.join(argv)

    def errors(self) -> Iterator[str]:
        """Every error, a line each."""
        yield from self.request.errors()
        if self.hours is not None and not 0 < self.hours < math.inf:
            yield f"--hours: expected more than 0, found {self.hours}"
