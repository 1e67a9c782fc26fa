"""Exports of a package that import their module at the first access, so that `--help` is fast."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import Any


def lazy_exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package.

    Args:
        package: The ``__name__`` of the package.
        homes: The full name of the module that defines each exported name.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(homes[name]), name)

    return load


class _CallablePackage(ModuleType):
    """A package whose name is also that of the function that users call, such as ``tune.search``."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._function()(*arguments, **options)

    def _function(self) -> Any:
        home, function = self._calls
        return getattr(import_module(home), function)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """For help(): the text of the package, then the signature and the docstring of the function."""
        function = self._function()
        return f"{self.__dict__['__doc__']}\n{function.__name__}{signature(function)}\n\n{function.__doc__}"

    @property
    def __signature__(self) -> Signature:
        """For help() and completion: that of the function, whose module is loaded when it is asked for."""
        return signature(self._function())


def make_callable(package: str, home: str, function: str) -> None:
    """Make a package callable, because importing one of its modules would replace a function of the same name by it.

    Args:
        package: The ``__name__`` of the package.
        home: Full name of the module that defines the function; loaded at the first call.
        function: Name of the function.
    """
    module = sys.modules[package]
    module.__class__ = _CallablePackage
    module._calls = (home, function)  # type: ignore[attr-defined]
