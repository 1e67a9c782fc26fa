"""What is said about invalid arguments: where, expected and found, without the parser's own words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro
from messages import refuses

from preprocess.terminal.command_line import UsageError, parse


@dataclass(frozen=True)
class Arguments:
    """A command."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Where from."""
    out: Path
    """Where to (a folder)."""
    window_us: int | None = None
    """A length."""
    hours: float | None = None
    """A time."""
    rate: float = 0.1
    """A rate."""
    size: tuple[int, int] | None = None
    """Rows and columns."""
    steps: tuple[int, ...] = ()
    """Several T."""
    unit: Literal["us", "ms"] | None = None
    """A unit."""


@pytest.mark.parametrize(
    ("argv", "where", "expected", "found"),
    [
        (["--window-us", "1e5"], "--window-us", "a whole number", "'1e5'"),
        (["--hours", "x"], "--hours", "a number", "'x'"),
        (["--rate", "x"], "--rate", "a number", "'x'"),
        (["--size", "128"], "--size", "2 whole numbers", "'128'"),
        (["--size", "128", "a"], "--size", "2 whole numbers", "'128 a'"),
        (["--steps", "4", "a"], "--steps", "whole numbers", "'4 a'"),
        (["--unit", "h"], "--unit", "one of ms, us", "'h'"),
        (["--rate"], "--rate", "a value", "none"),
        (["--no-such", "1"], "", "an argument of spikeloom command", "--no-such"),
    ],
)
def test_an_invalid_value_is_named(argv: list[str], where: str, expected: str, found: str) -> None:
    remedy = "See: spikeloom command --help"
    with refuses(UsageError, where=where, expected=expected, found=found, remedy=remedy, errors=1) as caught:
        parse(Arguments, ["a", "--out", "b", *argv], prog="spikeloom command")
    assert not any(word in str(caught.value) for word in ("None", "[bold]", "instantiated", "Error parsing"))


@pytest.mark.parametrize(
    ("argv", "expected"), [([], "SOURCE and --out PATH"), (["a"], "--out PATH"), (["--out", "b"], "SOURCE")]
)
def test_what_is_missing_is_named_without_its_description(argv: list[str], expected: str) -> None:
    with refuses(UsageError, expected=expected, found="none", errors=1) as caught:
        parse(Arguments, argv, prog="spikeloom command")
    assert "required" not in str(caught.value)
