"""SECURITY.md is short, and every promise in it names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = (REPOSITORY / "SECURITY.md").read_text("utf-8")
TESTS = re.findall(r"`(tests/[^`]*)`", PAGE)


@pytest.mark.parametrize("named", TESTS)
def test_every_test_that_the_page_names_exists(named: str) -> None:
    path, _, test = named.partition("::")
    assert re.search(rf"^def {test}\(", (REPOSITORY / path).read_text("utf-8"), re.MULTILINE)


def test_every_promise_names_a_test_and_no_test_twice() -> None:
    promises = PAGE.partition("## What is promised\n")[2].partition("\n## ")[0]
    found = re.split(r"^- ", promises, flags=re.MULTILINE)[1:]
    assert len(found) > 5 and all(re.search(r"^  - `tests/", promise, re.MULTILINE) for promise in found)
    assert len(TESTS) == len(set(TESTS)) == promises.count("tests/")


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 90 and max(map(len, PAGE.splitlines())) <= 130
