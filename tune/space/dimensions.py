"""The dimensions of a search space: a field and its values, and where it is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Condition:
    """Another field and the values of it at which a dimension is searched."""

    path: str
    values: tuple[Any, ...]

    def describe(self) -> str:
        """In the form of a word of `--space`."""
        return f"{self.path}={listed(self.values)}"


@dataclass(frozen=True)
class Choice:
    """A field that takes one of a few values.

    Attributes:
        path: Of the field.
        values: In the order in which they were given.
        when: All of these must hold, else the field keeps the configuration's value.
    """

    path: str
    values: tuple[Any, ...]
    when: tuple[Condition, ...] = ()

    @property
    def count(self) -> float:
        """How many values it has."""
        return len(self.values)

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the way through all of them."""
        return self.values[int(share * len(self.values))]

    def tidy(self, value: Any) -> Any:
        """The value as it is."""
        return value

    def ends(self) -> tuple[Any, ...]:
        """The values that must be valid for all of them to be."""
        return self.values

    def describe(self) -> str:
        """In the form of a word of `--space`."""
        return f"{self.path}={listed(self.values)}{_conditions(self.when)}"


@dataclass(frozen=True)
class Range:
    """A numeric field that takes any value from `low` to `high`, both included.

    Attributes:
        path: Of the field.
        low: The lowest value.
        high: The highest.
        log: Whether values are even in the logarithm.
        whole: Whether they are whole numbers.
        when: All of these must hold, else the field keeps the configuration's value.
    """

    path: str
    low: float
    high: float
    log: bool
    whole: bool
    when: tuple[Condition, ...] = ()

    @property
    def count(self) -> float:
        """How many values it has."""
        return self.high - self.low + 1 if self.whole else math.inf

    @property
    def values(self) -> tuple[Any, ...]:
        """All of them, where they are whole numbers."""
        return tuple(range(int(self.low), int(self.high) + 1))

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the way from low to high."""
        # A whole number k stands for [k - 1/2, k + 1/2): both ends are drawn as often as their neighbours.
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        return self.tidy(low * (high / low) ** share if self.log else low + (high - low) * share)

    def tidy(self, value: float) -> Any:
        """A value within the ends, whole or with four digits, so that tables stay readable."""
        tidied = round(value) if self.whole else float(f"{value:.4g}")
        return min(max(tidied, self.low), self.high)

    def grid(self, count: int) -> tuple[Any, ...]:
        """So many values from low to high, both among them; fewer where whole numbers fall together."""
        shares = [k / (count - 1) for k in range(count)]
        if self.log:
            values = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            values = [self.low + (self.high - self.low) * share for share in shares]
        return tuple(dict.fromkeys(self.tidy(value) for value in values))

    def ends(self) -> tuple[Any, ...]:
        """The values that must be valid for all of them to be."""
        return self.low, self.high

    def describe(self) -> str:
        """In the form of a word of `--space`."""
        return f"{self.path}={self.low}:{self.high}{':log' if self.log else ''}{_conditions(self.when)}"


Dimension = Choice | Range


def listed(values: tuple[Any, ...]) -> str:
    return ",".join("none" if value is None else str(value) for value in values)


def _conditions(when: tuple[Condition, ...]) -> str:
    return f" if {' and '.join(condition.describe() for condition in when)}" if when else ""
