"""What a JSON file contains is checked against types, and what does not fit is named with its place."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

import pytest

from preprocess.json_types import misfit


class Part(TypedDict):
    name: str
    size: NotRequired[int | None]


class Whole(TypedDict):
    parts: list[Part]
    kind: Literal["a", "b"]
    rates: dict[str, float]


WHOLE: dict[str, Any] = {"parts": [{"name": "x"}, {"name": "y", "size": None}], "kind": "a", "rates": {"k": 1}}


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (WHOLE | {"more": object()}, Whole),
        (1, float),
        (float("nan"), float),
        (None, int | None),
        ([1, None, 2.5], list[float | None]),
        ([[1, 2], []], list[list[int]]),
        ({"a": True, "b": "x"}, dict[str, bool | str]),
        ({"a": [{}]}, dict[str, Any]),
        (-(1 << 63), int),
    ],
)
def test_values_of_a_type_fit(value: object, hint: object):
    assert misfit(value, hint) is None


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        (True, int, "expected a whole number, found True"),
        (1 << 63, float, "expected a number, found 9223372036854775808"),
        (1.5, int | None, "expected a whole number or null, found 1.5"),
        ([1, "x"], list[int], "[1]: expected a whole number, found 'x'"),
        ([[1], [None]], list[list[int]], "[1][0]: expected a whole number, found None"),
        ({"a": None}, dict[str, float], "a: expected a number, found None"),
        (WHOLE | {"kind": "c"}, Whole, "kind: expected a, b, found 'c'"),
        (WHOLE | {"parts": [{"size": 1}]}, Whole, "parts[0]: expected name, found none"),
        (WHOLE | {"parts": [{"name": "x", "size": "1"}]}, Whole, "parts[0].size: expected a whole number or null"),
        ({"kind": "a"}, Whole, "expected parts, rates, found none"),
        ([], Whole, "expected an object, found []"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(value: object, hint: object, message: str):
    found = misfit(value, hint)
    assert found is not None and found.startswith(message)


def test_keys_may_lack_where_the_whole_need_not_be_complete():
    assert misfit({"kind": "a"}, Whole, complete=False) is None
    assert misfit({"kind": 1}, Whole, complete=False) == "kind: expected a, b, found 1"
