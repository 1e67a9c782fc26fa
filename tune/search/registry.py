"""The search methods by name. To add one, write a module that describes it, and list it here."""

from __future__ import annotations

from preprocess.errors import ConfigError
from tune.search.pbt import PBT
from tune.search.random_and_grid import GRID, RANDOM
from tune.search.search_method import SearchMethod
from tune.search.tpe import TPE

SEARCH_METHODS: dict[str, SearchMethod] = {method.name: method for method in (RANDOM, GRID, TPE, PBT)}
"""What `--search` accepts; the first is the default."""


def find_method(name: str) -> SearchMethod:
    """The search method of a name.

    Raises:
        ConfigError: If there is no such method.
    """
    if name not in SEARCH_METHODS:
        raise ConfigError(f"--search: expected one of {', '.join(SEARCH_METHODS)}, found '{name}'")
    return SEARCH_METHODS[name]
