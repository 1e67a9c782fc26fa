"""Exports of a package that load their module when they are asked for, so that `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def lazy_exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``.

    Args:
        package: Its ``__name__``.
        homes: Each exported name with the full name of the module that defines it.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(homes[name]), name)

    return load


class _CallablePackage(ModuleType):
    """A package whose name is also that of the function that users call, such as ``tune.search``."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        home, function = self._calls
        return getattr(import_module(home), function)(*arguments, **options)


def make_callable(package: str, home: str, function: str) -> None:
    """Let a package be called: importing any of its modules would replace a function of the same name by the package.

    Args:
        package: Its ``__name__``.
        home: Full name of the module that defines the function; loaded at the first call.
        function: Name of the function.
    """
    module = sys.modules[package]
    module.__class__ = _CallablePackage
    module._calls = (home, function)  # type: ignore[attr-defined]
