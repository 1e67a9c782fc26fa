"""The definition of a search method; each method is defined in its own module and listed in `tune.search.registry`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.config.run_config import RunConfig
from tune.space.space import Changes, Space
from tune.trials.trial_source import TrialSource

if TYPE_CHECKING:
    from tune.search.search_plan import Search


class SearchSource(TrialSource, Protocol):
    """Proposes trials while the search runs."""

    @property
    def search(self) -> Search:
        """The search with every trial that has been proposed so far."""


@dataclass(frozen=True)
class SearchMethod:
    """The traits of a search method that the command line, the plan and the tables use.

    Attributes:
        name: The value of `--search`.
        summary: One clause for the help.
        draw: Distinct valid configurations of a space before the first trial, called with the space, the shared
            configuration, the number of samples and the seed. A method with a `source` draws only to show that the
            space has valid configurations.
        runs: The maximum number of runs of a search.
        source: Proposes trials from the results of earlier ones, for the search in a folder. None if all trials are
            drawn before the first one runs.
        default_samples: The number of configurations if the user gives none: None for that of most methods
            (`tune.search.options.DEFAULT_SAMPLES`), 0 for the complete space.
        schedulers: The schedulers that the method allows.
        several_objectives: Whether it can rank trials by more than accuracy.
        repeats: Whether it can run each configuration with several seeds.
        generations: Whether it trains each configuration in parts of `--interval` epochs, each part a trial of its own;
            only a trial of the last generation is a complete configuration.
        searchable: Field paths, or sections that end in a dot, that it may search; empty means every field.
        fixed: Exceptions from `searchable`.
        limits: A sentence that explains the restrictions above, for errors.
    """

    name: str
    summary: str
    draw: Callable[[Space, RunConfig, int, int], list[Changes]]
    runs: Callable[[Search], int]
    source: Callable[[Search, Path], SearchSource] | None = None
    default_samples: int | None = None
    schedulers: tuple[str, ...] = ("asha", "none")
    several_objectives: bool = True
    repeats: bool = True
    generations: bool = False
    searchable: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    limits: str = ""

    @property
    def adaptive(self) -> bool:
        """Whether later trials depend on the results of earlier ones."""
        return self.source is not None

    def searches(self, path: str) -> bool:
        """Whether the method may search a field."""
        allowed = not self.searchable or any(
            path.startswith(part) if part.endswith(".") else path == part for part in self.searchable
        )
        return allowed and path not in self.fixed

    def describe_searchable(self) -> str:
        """The fields that it may search, for errors."""
        fields = ", ".join(f"{part}*" if part.endswith(".") else part for part in self.searchable)
        return f"{fields} (but not {', '.join(self.fixed)})" if self.fixed else fields


def runs_of_drawn_trials(search: Search) -> int:
    """One run of every drawn trial for each seed."""
    return max(1, len(search.seeds)) * len(search.trials)
