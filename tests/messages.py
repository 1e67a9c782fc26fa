"""Checks of error messages by their parts, so that a test pins what a message says and not how it is worded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from preprocess.errors import SpikeloomError

_PARTS = re.compile(r"(?P<where>.*?)(?:: |^)expected (?P<expected>.*?),? (?:but )?found (?P<found>.*)", re.DOTALL)


@dataclass(frozen=True)
class Message:
    """The parts of one line: where, what was expected, what was found, and what to do next.

    A message that is not of the form ``where: expected ..., found .... Next step.`` has its whole text in every part.
    """

    where: str
    expected: str
    found: str
    remedy: str


def parse_message(line: str) -> Message:
    """The parts of an error's line; the remedy is everything after the first sentence."""
    parts = _PARTS.match(line)
    if parts is None:
        return Message(line, line, line, line)
    found, _, remedy = parts["found"].partition(". ")
    return Message(parts["where"], parts["expected"], found, remedy)


@contextmanager
def refuses(
    kind: type[SpikeloomError],
    *,
    where: str = "",
    expected: str = "",
    found: str = "",
    remedy: str = "",
    errors: int | None = None,
) -> Iterator[pytest.ExceptionInfo[SpikeloomError]]:
    """Expect an error with one line whose parts contain these texts.

    Args:
        kind: The class of the error.
        where: In front of "expected": the file, field or option.
        expected: The rule that was broken.
        found: The value that broke it.
        remedy: What the user is told to do next; command lines and option names are stable, sentences are not.
        errors: The number of lines, where several errors are reported together; not checked if None.
    """
    with pytest.raises(kind) as caught:
        yield caught
    lines = str(caught.value).splitlines()
    wanted = Message(where, expected, found, remedy)
    assert any(_contains(parse_message(line), wanted) for line in lines), f"{wanted} is in none of: {lines}"
    assert errors is None or len(lines) == errors, lines


def _contains(message: Message, wanted: Message) -> bool:
    return all(getattr(wanted, part) in getattr(message, part) for part in ("where", "expected", "found", "remedy"))
