"""The options of a search: space, method, number of samples, early stopping, repeats and objectives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.run_config import RunConfig
from preprocess.errors import ConfigError
from tune.search.pareto import OBJECTIVES
from tune.search.registry import find_method
from tune.search.search_method import SearchMethod
from tune.space.named_spaces import DEFAULT_SPACE
from tune.space.space import Space

SCHEDULERS = ("asha", "none")

DEFAULT_SAMPLES = 24
"""The number of configurations of a search if neither the user nor its method says another."""

DEFAULT_FINAL_SEEDS = 3
"""The number of seeds with which the command retrains and tests the selected configuration; in Python it is 0."""


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search, as given on the command line.

    Attributes:
        space: The entries of `--space`.
        method: The name of a search method (`tune.search.registry`).
        samples: The maximum number of configurations; None for the method's default.
        scheduler: asha or none; None for asha if the other options allow it.
        repeats: The number of runs of every configuration, with consecutive seeds.
        objectives: The objectives by which trials are ranked.
        interval: Epochs of a generation, for methods that have generations; None for a tenth of all epochs.
        final_seeds: The number of seeds with which the selected configuration is retrained and tested.
    """

    space: tuple[str, ...] = (DEFAULT_SPACE,)
    method: str = "random"
    samples: int | None = None
    scheduler: str | None = None
    repeats: int = 1
    objectives: tuple[str, ...] = ("accuracy",)
    interval: int | None = None
    final_seeds: int = 0

    def errors(self) -> Iterator[str]:
        """Every error in the options, a line each."""
        for name, value, least in (
            ("samples", self.samples, 1),
            ("repeats", self.repeats, 1),
            ("interval", self.interval, 1),
            ("final-seeds", self.final_seeds, 0),
        ):
            if value is not None and value < least:
                yield f"--{name}: expected at least {least}, found {value}"
        unknown = [name for name in self.objectives if name not in OBJECTIVES]
        for name in unknown:
            yield f"--objectives: expected one or more of {', '.join(OBJECTIVES)}, found '{name}'"
        if not unknown and ("accuracy" not in self.objectives or len(set(self.objectives)) < len(self.objectives)):
            yield f"--objectives: expected accuracy, and any other objective only once, found {self._objectives}"
        try:
            method = find_method(self.method)
        except ConfigError as error:
            yield from error.errors
            return
        yield from self._scheduler_errors(method)
        yield from self._method_errors(method)

    @property
    def _objectives(self) -> str:
        return " ".join(self.objectives) or "none"

    def _scheduler_errors(self, method: SearchMethod) -> Iterator[str]:
        if self.scheduler != "asha":
            return
        if len(self.objectives) > 1:
            yield (
                f"--scheduler: expected none with several objectives ({self._objectives}), found asha, which stops "
                "trials by accuracy alone"
            )
        if self.repeats > 1 and "asha" in method.schedulers:
            yield (
                f"--scheduler: expected none with --repeats {self.repeats}, found asha, which would stop each seed "
                "separately. Only configurations with all seeds complete are ranked."
            )

    def _method_errors(self, method: SearchMethod) -> Iterator[str]:
        """The options that the search method does not allow."""
        where, limits = f"--search {self.method}", f". {method.limits}" if method.limits else ""
        if len(self.objectives) > 1 and not method.several_objectives:
            yield f"{where}: expected --objectives accuracy alone, found {self._objectives}{limits}"
        if self.repeats > 1 and not method.repeats:
            yield f"{where}: expected --repeats 1, found {self.repeats}{limits}"
        if self.scheduler is not None and self.scheduler not in method.schedulers:
            yield f"{where}: expected --scheduler {' or '.join(method.schedulers)}, found {self.scheduler}{limits}"
        if self.interval is not None and not method.generations:
            yield f"--interval: expected a search method with generations, found --search {self.method}. Leave it out."

    def space_errors(self, space: Space) -> Iterator[str]:
        """Fields of the space that contradict the other options, a line each."""
        if self.repeats > 1 and "seed" in space.fields:
            yield f"--space: expected no seed with --repeats {self.repeats}, which sets the seeds, found seed"
        method = find_method(self.method)
        for path in space.fields:
            if not method.searches(path):
                yield (
                    f"--search {self.method}: expected only fields that it can search, found {path}. It can search "
                    f"{method.describe_searchable()}."
                )

    def chosen_samples(self) -> int:
        """The maximum number of configurations; 0 for the complete space."""
        of_method = find_method(self.method).default_samples
        return self.samples or (DEFAULT_SAMPLES if of_method is None else of_method)

    def chosen_scheduler(self) -> str:
        """asha, unless another scheduler is given or asha does not suit the other options."""
        to_the_end = len(self.objectives) > 1 or self.repeats > 1 or "asha" not in find_method(self.method).schedulers
        return self.scheduler or ("none" if to_the_end else "asha")

    def chosen_interval(self, config: RunConfig) -> int:
        """Epochs of a generation; 0 if the method has no generations."""
        if not find_method(self.method).generations:
            return 0
        return self.interval or max(1, config.schedule.epochs // 10)
