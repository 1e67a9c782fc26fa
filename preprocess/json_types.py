"""Check the types of what a JSON file contains, so that a damaged file is refused where it is read.

Written here because pydantic takes no `typing.TypedDict` before Python 3.12, and typeguard takes true for a number.
"""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any, Literal, NotRequired, Required

_NAMES: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_NAMES |= {dict: "an object", list: "a list", type(None): "null"}
# Larger whole numbers cannot be computed with as floats or as integers of NumPy.
_LARGEST = 1 << 63


def misfit(value: Any, hint: Any, where: str = "", *, complete: bool = True) -> str | None:
    """What is wrong with a value, such as ``epochs: expected a whole number, found 'x'``; None if it has the type.

    Args:
        value: A value of JSON.
        hint: int, float, str, bool, None, Any, a Literal, a union, ``list[...]``, ``dict[str, ...]`` or a TypedDict;
            the keys that a TypedDict does not name are not checked.
        where: Path of the value within the file, for the message.
        complete: Whether all required keys of a TypedDict must be there; those within it are always complete.
    """
    if _fits_plain(value, _plain_types(hint)):
        return None
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Required, NotRequired):
        return misfit(value, inner[0], where)
    if hint is Any or (origin in (typing.Union, types.UnionType) and any(misfit(value, h) is None for h in inner)):
        return None
    if origin is Literal and any(value is choice or (type(value) is str and value == choice) for choice in inner):
        return None
    if typing.is_typeddict(hint) and isinstance(value, dict):
        hints = _hints(hint)
        if lacking := [key for key in hints if complete and _is_required(hint, key) and key not in value]:
            return f"{where}: expected {', '.join(lacking)}, found none".removeprefix(": ")
        return _first(misfit(each, hints[key], _below(where, key)) for key, each in value.items() if key in hints)
    if origin is list and isinstance(value, list):
        kinds = _plain_types(inner[0])
        if kinds and all(_fits_plain(each, kinds) for each in value):
            return None
        return _first(misfit(each, inner[0], f"{where}[{k}]") for k, each in enumerate(value))
    if origin is dict and isinstance(value, dict):
        kinds = _plain_types(inner[1])
        if kinds and all(_fits_plain(each, kinds) for each in value.values()):
            return None
        return _first(misfit(each, inner[1], _below(where, key)) for key, each in value.items())
    return f"{where}: expected {_name(hint)}, found {value!r:.60}".removeprefix(": ")


def _first(messages: typing.Iterable[str | None]) -> str | None:
    return next((message for message in messages if message is not None), None)


def _below(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _fits_plain(value: Any, kinds: frozenset[type]) -> bool:
    """Whether a value has one of the types; most values do, so that this is quick."""
    kind = type(value)
    return kind in kinds and (kind is not int or -_LARGEST <= value < _LARGEST)


@cache
def _plain_types(hint: Any) -> frozenset[type]:
    """The types of the values that fit a hint and have no parts to check; none for Any and other kinds of hints."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return frozenset().union(*map(_plain_types, typing.get_args(hint)))
    if hint is float:
        return frozenset((float, int))
    if hint is None:
        return frozenset((type(None),))
    return frozenset((hint,)) if hint in (int, str, bool, list, dict, type(None)) else frozenset()


def _name(hint: Any) -> str:
    """The readable name of a type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_name, inner)))
    if origin is Literal:
        return ", ".join(map(str, inner))
    return _NAMES.get(origin or hint, "an object")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _is_required(kind: Any, key: str) -> bool:
    # Where annotations are texts, __required_keys__ does not know NotRequired and Required.
    marked = typing.get_origin(_hints(kind)[key])
    return marked is Required or (marked is not NotRequired and key in kind.__required_keys__)
