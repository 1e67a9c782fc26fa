"""The hash of code that is in a script, a notebook or an interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.config.code_hash import code_sha256

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


def test_what_a_module_defines_is_known_by_its_name():
    def same() -> Callable[..., Any]:
        return same

    assert code_sha256(print) != code_sha256(len) and code_sha256(same) == code_sha256(same())
