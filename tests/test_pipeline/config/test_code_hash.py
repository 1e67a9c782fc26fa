"""The hash of code that is in a script, a notebook or an interpreter."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.code_hash import code_sha256, values_sha256

SCRIPT = '''
import math
import functools


class Spike:
    """A neuron."""

    def __init__(self, threshold):
        self.threshold = threshold

    def forward(self, x):
        return x - self.threshold > math.pi


def closed(threshold):
    return lambda config: Spike(threshold)


LIMIT = 3


def with_default(config, threshold=1.0):
    """Make a neuron."""
    return Spike(min(threshold, LIMIT))


class Maker:
    def __init__(self, threshold):
        self.threshold = threshold

    def __call__(self, config):
        return Spike(self.threshold)


made = MADE
'''


def hash_of(made: str, change: tuple[str, str] = ("", "")) -> str:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(SCRIPT.replace("MADE", made).replace(*change), space)
    return code_sha256(space["made"])


MADE = [
    "closed(1.0)",
    "with_default",
    "functools.partial(with_default, threshold=1.0)",
    "Maker(1.0)",
    "Maker(1.0).__call__",
]


@pytest.mark.parametrize("made", MADE)
def test_what_a_function_computes_with_changes_its_hash(made: str):
    assert hash_of(made) == hash_of(made)
    assert hash_of(made, ("> math.pi", "> -math.pi")) != hash_of(made)
    assert hash_of(made, ("1.0", "50.0")) != hash_of(made)


def test_what_a_function_refers_to_counts_and_the_rest_of_the_script_does_not():
    assert hash_of("with_default", ("LIMIT = 3", "LIMIT = 4")) != hash_of("with_default")
    assert hash_of("closed(1.0)", ("LIMIT = 3", "LIMIT = 4")) == hash_of("closed(1.0)")
    assert hash_of("with_default", ('"""Make a neuron."""', "# another text")) == hash_of("with_default")


MODULE = """
def closed(threshold):
    def make(config):
        return threshold
    return make


class Maker:
    def __init__(self, threshold):
        self.threshold = threshold

    def __call__(self, config):
        return self.threshold


def make_class(threshold):
    class Made:
        def __init__(self):
            super().__init__()

        def get(self):
            return threshold
    return Made


class Plain:
    def __init__(self):
        super().__init__()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "own_hashed.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_hashed")
    del sys.modules["own_hashed"]


def test_values_that_a_script_gives_to_what_a_module_makes_count(module: Any):
    for make in (module.closed, module.Maker):
        assert code_sha256(make(1.0)) == code_sha256(make(1.0)) != code_sha256(make(2.0))
    makers = (module.closed, lambda threshold: module.Maker(threshold).__call__, module.make_class)
    for make in makers:
        assert values_sha256(make(1.0)) == values_sha256(make(1.0)) != values_sha256(make(2.0))
    assert {values_sha256(plain) for plain in (module.closed, module.Plain, module.Maker(1.0), print)} == {""}


def test_what_a_module_defines_is_known_by_its_name():
    def same() -> Callable[..., Any]:
        return same

    assert code_sha256(print) != code_sha256(len) and code_sha256(same) == code_sha256(same())
