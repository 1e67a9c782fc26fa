"""Names and formats of neurons, fields, values, seeds and durations in tables, figures and messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.config.neurons import traits_of

_SHORT = {"binning.timesteps": "T", "neuron.tau": "tau", "neuron.name": "neuron"}


def neuron_label(name: str) -> str:
    """A neuron in tables and figures, such as LIF or CLIF-detached; a custom class has the name of the class."""
    if ":" in name:
        return name.rpartition(":")[2]
    if label := traits_of(name).label:
        return label
    kind, *variant = name.split("-")
    return "-".join((kind.upper(), *variant))


class DrawnSeed(int):
    """A seed on one of several splits, written 2022/fold1.

    As a number it is its position among all seeds and splits, so that it is unique and sorts.

    Attributes:
        seed: The seed.
        split: The short name of the split.
    """

    seed: int
    split: str

    def __new__(cls, position: int, seed: int, split: str) -> DrawnSeed:
        """Make an integer, the position, that also has a seed and a split."""
        found = super().__new__(cls, position)
        found.seed, found.split = seed, split
        return found

    def __str__(self) -> str:
        return f"{self.seed}/{self.split}"

    __repr__ = __str__


def format_seeds(seeds: Sequence[int]) -> str:
    """Seeds as a range, 2022–2024, if they are consecutive, otherwise as a list, 2022, 2024.

    All seeds on all splits are the product of both, 2022–2024 on fold0, fold1.
    """
    drawn = [seed for seed in seeds if isinstance(seed, DrawnSeed)]
    if drawn:
        numbers, splits = (list(dict.fromkeys(part)) for part in zip(*((d.seed, d.split) for d in drawn), strict=True))
        if len(numbers) * len(splits) == len(seeds):
            return f"{format_seeds(numbers)} on {', '.join(splits)}"
        return ", ".join(map(str, seeds))
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)


def duration(seconds: float) -> str:
    """Such as ``2 h 05 min``; a dash for what is not a finite number."""
    if not math.isfinite(seconds):
        return "–"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def short_name(path: str) -> str:
    """A field's name in the header of a table or on the axis of a figure."""
    return _SHORT.get(path, path)


def short_value(value: Any) -> str:
    """A field's value in a table or figure."""
    if isinstance(value, str) and ".py:" in value:
        # The path of a custom class is too long for a column.
        return value.rpartition(":")[2]
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def describe_trial(row: dict[str, Any]) -> str:
    """A short description of the trial that a point of a figure shows."""
    values = " ".join(f"{_SHORT[path]}={short_value(row[path])}" for path in _SHORT if path in row and path != "seed")
    return f"{values} · trial {str(row['trial'])[:8]}" if row.get("trial") else values
