"""How many trials may run at once, while machines join and leave the cluster."""

from __future__ import annotations

import sys
import time

from tune.resources.allocation import TrialResources, trials_that_fit
from tune.resources.measure_and_allocate import nodes_of_ray

# Seconds between checks for machines that joined or left the cluster.
_NODES_S = 10.0


class ConcurrencyLimit:
    """The number of trials that may run at once, as machines join and leave the cluster."""

    def __init__(self) -> None:
        self._count, self._resources, self._most, self._next = 1, TrialResources(1, 1, 0.0, "cpu"), 1, 0.0

    def open(self, resources: TrialResources, most: int | None) -> None:
        """Allow as many trials as the cluster has room for, and no more than a given number."""
        self._count, self._resources, self._most = resources.trials, resources, most or sys.maxsize
        self._next = time.monotonic() + _NODES_S

    def __call__(self) -> int:
        """The number of trials that may run now, at least 1; counts the machines again after 10 s."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _NODES_S
            resources = self._resources
            room = sum(
                trials_that_fit(node, resources.threads, resources.gpu, resources.memory)
                for node in nodes_of_ray()
                if node.cpus
            )
            self._count = max(1, min(room, self._most))
        return self._count
