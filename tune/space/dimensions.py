"""The dimensions of a search space: a field, its values, and the conditions under which it is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Condition:
    """A condition: a dimension is searched only for these values of another field."""

    path: str
    values: tuple[Any, ...]

    def describe(self) -> str:
        """In the form of an entry of `--space`."""
        return f"{self.path}={listed(self.values)}"


@dataclass(frozen=True)
class Choice:
    """A field that has one of a few values.

    Attributes:
        path: The field's path.
        values: The values, in the given order.
        when: Conditions that must all be met; otherwise the field keeps the configuration's value.
    """

    path: str
    values: tuple[Any, ...]
    when: tuple[Condition, ...] = ()

    @property
    def count(self) -> float:
        """The number of values."""
        return len(self.values)

    def at(self, share: float) -> Any:
        """The value at a fraction in [0, 1) of the list of values."""
        return self.values[int(share * len(self.values))]

    def tidy(self, value: Any) -> Any:
        """The value as it is."""
        return value

    def ends(self) -> tuple[Any, ...]:
        """The values that must be valid so that all values are."""
        return self.values

    def describe(self) -> str:
        """In the form of an entry of `--space`."""
        return f"{self.path}={listed(self.values)}{_conditions(self.when)}"


@dataclass(frozen=True)
class Range:
    """A numeric field with any value from `low` to `high`, both included.

    Attributes:
        path: The field's path.
        low: The lowest value.
        high: The highest value.
        log: Whether values are uniform in the logarithm.
        whole: Whether values are whole numbers.
        when: Conditions that must all be met; otherwise the field keeps the configuration's value.
    """

    path: str
    low: float
    high: float
    log: bool
    whole: bool
    when: tuple[Condition, ...] = ()

    @property
    def count(self) -> float:
        """The number of values."""
        return self.high - self.low + 1 if self.whole else math.inf

    @property
    def values(self) -> tuple[Any, ...]:
        """All values of a range of whole numbers."""
        return tuple(range(int(self.low), int(self.high) + 1))

    def at(self, share: float) -> Any:
        """The value at a fraction in [0, 1) of the way from low to high."""
        # A whole number k represents [k - 1/2, k + 1/2), so that both ends are drawn as often as other values.
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        return self.tidy(low * (high / low) ** share if self.log else low + (high - low) * share)

    def tidy(self, value: float) -> Any:
        """The value limited to the range, as a whole number or with four digits, so that tables stay readable."""
        tidied = round(value) if self.whole else float(f"{value:.4g}")
        return min(max(tidied, self.low), self.high)

    def grid(self, count: int) -> tuple[Any, ...]:
        """Evenly spaced values from low to high, both included; equal whole numbers count once."""
        shares = [k / (count - 1) for k in range(count)]
        if self.log:
            values = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            values = [self.low + (self.high - self.low) * share for share in shares]
        return tuple(dict.fromkeys(self.tidy(value) for value in values))

    def ends(self) -> tuple[Any, ...]:
        """The values that must be valid so that all values are."""
        return self.low, self.high

    def describe(self) -> str:
        """In the form of an entry of `--space`."""
        return f"{self.path}={self.low}:{self.high}{':log' if self.log else ''}{_conditions(self.when)}"


Dimension = Choice | Range


def listed(values: tuple[Any, ...]) -> str:
    """Values as an entry of `--space` lists them: separated by commas, None as ``none``."""
    return ",".join("none" if value is None else str(value) for value in values)


def _conditions(when: tuple[Condition, ...]) -> str:
    return f" if {' and '.join(condition.describe() for condition in when)}" if when else ""
