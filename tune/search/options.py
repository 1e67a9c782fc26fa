"""How to search, as the command line has it: method, number, early stopping, repeats, objectives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tune.search.pareto import OBJECTIVES
from tune.space.named_spaces import DEFAULT_SPACE
from tune.space.space import Space

METHODS = ("random", "grid", "tpe", "pbt")
SCHEDULERS = ("asha", "none")
# Trials where the user names no number.
DEFAULT_SAMPLES = {"random": 24, "tpe": 24, "pbt": 8}

# What population based training may change while a network trains.
PBT_SECTIONS = ("optimiser.", "loss.")
PBT_FIELDS = ("network.dropout", "dataset.augmentation", "batch_size")
# A checkpoint holds the state of one optimiser, and averaged weights or none.
_PBT_FIXED = ("optimiser.name", "optimiser.ema_decay")


@dataclass(frozen=True)
class SearchOptions:
    """How to search, as the command line has it.

    Attributes:
        space: The words of `--space`.
        method: random, grid, tpe or pbt.
        samples: How many configurations at most; None is 24, of pbt 8, of a grid all.
        scheduler: asha, none, or None for what suits the rest.
        repeats: Runs of every configuration, with seeds that follow on from its own.
        objectives: What trials are ranked by.
        interval: Of pbt, in epochs; None is a tenth of them.
        final_seeds: How many times the choice is trained anew and tested.
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
        """Every fault, a line each."""
        for name, value, least in (
            ("samples", self.samples, 1),
            ("repeats", self.repeats, 1),
            ("interval", self.interval, 1),
            ("final-seeds", self.final_seeds, 0),
        ):
            if value is not None and value < least:
                yield f"--{name}: expected at least {least}, found {value}"
        for name in self.objectives:
            if name not in OBJECTIVES:
                yield f"--objectives: expected some of {', '.join(OBJECTIVES)}, found '{name}'"
        if "accuracy" not in self.objectives or len(set(self.objectives)) < len(self.objectives):
            found = " ".join(self.objectives) or "none"
            yield f"--objectives: expected accuracy, and others once each, found {found}"
        several = len(self.objectives) > 1
        if several and self.scheduler == "asha":
            yield "--scheduler asha: stops trials by accuracy alone; with several objectives use none"
        if self.repeats > 1 and self.scheduler == "asha" and self.method != "pbt":
            yield (
                f"--scheduler asha: expected none with --repeats {self.repeats}: it would stop each seed by itself, "
                "and only configurations with all of them are ranked"
            )
        if self.method == "pbt":
            if several:
                yield "--search pbt: expected the objective accuracy alone, which says who goes on from whom"
            if self.repeats > 1:
                yield f"--search pbt: expected --repeats 1, found {self.repeats}: its members learn from each other"
            if self.scheduler == "asha":
                yield "--search pbt: expected --scheduler none, found asha: poor members go on from better ones instead"
        elif self.interval is not None:
            yield f"--interval: is for --search pbt, found {self.method}"

    def space_errors(self, space: Space) -> Iterator[str]:
        """Fields of the space that do not go with the rest."""
        if self.repeats > 1 and "seed" in space.fields:
            yield "--space seed=...: expected no seeds in the space with --repeats, which sets them"
        if self.method != "pbt":
            return
        for path in space.fields:
            if path in _PBT_FIXED or (not path.startswith(PBT_SECTIONS) and path not in PBT_FIELDS):
                free = ", ".join((*(f"{section}*" for section in PBT_SECTIONS), *PBT_FIELDS))
                free += f" (but not {', '.join(_PBT_FIXED)})"
                yield f"--search pbt: {path} cannot change while a network trains; free are {free}"

    def plain_scheduler(self) -> str:
        """asha, unless something else is asked for or it does not fit."""
        whole = self.method == "pbt" or len(self.objectives) > 1 or self.repeats > 1
        return self.scheduler or ("none" if whole else "asha")
