"""The messages of tyro about invalid arguments, reworded as this library's: where, what is expected, what was found."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

_NUMBERS = {"INT": ("a whole number", "whole numbers"), "FLOAT": ("a number", "numbers")}
_CHOICE = re.compile(
    r"invalid choice (?P<found>'.*?') for argument '(?P<where>.*?)'\. Expected one of (?P<known>\(.*\))"
)
_PARSING = re.compile(r"Error parsing (?P<where>\S+): (?P<why>.*)")
_TYPES = re.compile(r"no type matching (?P<types>.*?) could be instantiated from (?P<found>\[.*?\])\. Got errors")
_COUNT = re.compile(r"Missing value for argument '(?P<where>.*?)'\. Expected (?P<count>\d+) values?")
_UNKNOWN = re.compile(r"Unrecognized (?:options|arguments|or misplaced options): (?P<found>.*)")
_UNKNOWN_OPTION = re.compile(r"expected an argument of .*?, found .*?(?P<found>--[^\s,=-][^\s,=]*)")
_LITERAL = re.compile(r"invalid literal for int\(\) with base 10: (?P<found>.*)")
_FLOAT = re.compile(r"could not convert string to float: (?P<found>.*)")
_UNPARSED = re.compile(r"Could not find valid parse for arguments: (?P<found>\[.*\])")
_REQUIRED = re.compile(r"Missing from ")


def plain_message(text: str, prog: str) -> str:
    """Reword a message of tyro.

    Args:
        text: Its text, which may have several lines.
        prog: The command.
    """
    line = " ".join(text.split()).rstrip(".")
    if _REQUIRED.match(line):
        return f"expected {' and '.join(_missing(text)) or 'its required arguments'}, found none"
    if match := _CHOICE.match(line):
        known = sorted(str(choice) for choice in ast.literal_eval(match["known"]))
        listed = ", ".join(choice for choice in known if choice != "None")
        return f"{match['where']}: expected one of {listed}, found {match['found']}"
    if match := _COUNT.match(line):
        count = int(match["count"])
        return f"{match['where']}: expected {'a value' if count == 1 else f'{count} values'}, found none"
    if match := _UNKNOWN.match(line):
        return f"expected an argument of {prog}, found {match['found']}"
    if match := _PARSING.match(line):
        return f"{match['where']}: {_reworded_value(match['why'])}"
    return line or "invalid arguments"


def with_nearest_option(message: str, nearest: Callable[[str], str | None]) -> str:
    """Add the option that an unknown one most likely means to the message about it; other messages stay as they are."""
    unknown = _UNKNOWN_OPTION.match(message)
    near = nearest(unknown["found"]) if unknown else None
    return f"{message}. Did you mean '--{near.replace('_', '-')}'?" if near else message


def _reworded_value(why: str) -> str:
    if match := _TYPES.match(why):
        return f"expected {_kinds(match['types'])}, found {_given(match['found'])}"
    if match := _LITERAL.match(why):
        return f"expected a whole number, found {match['found']}"
    if match := _FLOAT.match(why):
        return f"expected a number, found {match['found']}"
    if match := _UNPARSED.match(why):
        # Lists of any length are of whole numbers or of text, and text is never refused.
        return f"expected whole numbers, found {_given(match['found'])}"
    return why


def _kinds(types: str) -> str:
    """``{None}|{INT INT}`` in words."""
    parts = [part.strip("{}") for part in types.split("|")]
    return " or ".join(_kind(part.split(" ")) for part in parts if part != "None")


def _kind(names: list[str]) -> str:
    one, many = _NUMBERS.get(names[0], (names[0], names[0]))
    return one if len(names) == 1 else f"{len(names)} {many}"


def _given(values: str) -> str:
    """``['128', 'a']`` as it was typed."""
    try:
        return f"'{' '.join(ast.literal_eval(values))}'"
    except (ValueError, SyntaxError):
        return values


def _missing(text: str) -> list[str]:
    """The names of missing arguments: tyro prints each in a line, and its description, indented further, below it."""
    lines = [line for line in text.splitlines()[1:] if line.strip()]
    lines = [line for line in lines if "Missing from " not in line]
    least = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    return [line.strip() for line in lines if len(line) - len(line.lstrip()) == least]
