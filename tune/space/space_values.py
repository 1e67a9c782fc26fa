"""The values of a search space from Python, in the notation of ``--space``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from preprocess.errors import ConfigError

SpaceValues = str | float | bool | Sequence[Any]
"""Values of one name: text such as ``0.001:0.1:log``, a number, or a list of values."""

_WORDS = {True: "true", False: "false", None: "none"}


def space_texts(space: Mapping[str, SpaceValues]) -> dict[str, str]:
    """Return the values of every name as text: ``[0.1, 0.2]`` becomes ``0.1,0.2``.

    Raises:
        ConfigError: With a line for each name whose values are neither text nor numbers nor a list of these.
    """
    texts, errors = {}, []
    for name, values in space.items():
        try:
            texts[name] = _text(values)
        except ValueError as error:
            errors.append(f"space {name}: expected text such as '0.1,0.2' or '0.1:1:log', or a list, found {error}.")
    if errors:
        raise ConfigError(*errors)
    return texts


def _text(values: object) -> str:
    if isinstance(values, str):
        return values
    if isinstance(values, Sequence):
        if not values:
            raise ValueError("an empty list")
        return ",".join(_item(value) for value in values)
    return _item(values)


def _item(value: object) -> str:
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, str) and value.strip() and not set(value) & set(",:"):
        return value
    if isinstance(value, Real):
        return str(value)
    raise ValueError(repr(value))
