"""Neurons and networks from outside this package: ``package.module:Class`` or ``path/to/file.py:Class``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from preprocess.errors import ConfigError


def is_outside(name: str) -> bool:
    """Whether a neuron's or network's name points outside this package."""
    return ":" in name


def load_outside(name: str, field: str) -> type[Any]:
    """The class that a name points to.

    Args:
        name: ``package.module:Class`` or ``path/to/file.py:Class``.
        field: The configuration's field that holds the name, for errors.

    Raises:
        ConfigError: If the module or file cannot be loaded, or holds no such class.
    """
    where, _, what = name.partition(":")
    module = _load_module(where, name, field)
    found = getattr(module, what, None)
    if not isinstance(found, type):
        classes = sorted(n for n, value in vars(module).items() if isinstance(value, type))
        raise ConfigError(f"{field}: expected a class {what} in {where}, found only: {', '.join(classes) or 'none'}")
    return found


def source_sha256(kind: type[Any]) -> str:
    """The hash of the file that defines a class, 64 hexadecimal digits; a run records it."""
    return hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest()


def _load_module(where: str, name: str, field: str) -> ModuleType:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        path = Path(where).expanduser().absolute()
        # One module for one content, so that its classes are the same for every network of a process.
        key = f"spikeloom_outside_{hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:16]}"
        if key not in sys.modules:
            spec = importlib.util.spec_from_file_location(key, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[key] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[key]
                raise
        return sys.modules[key]
    except Exception as error:  # whatever a user's module does while it loads
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{field}: '{name}' cannot be loaded ({type(error).__name__}: {reason})") from None
