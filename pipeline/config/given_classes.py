"""Names in a configuration, and source, of the classes of network objects that a script passes to `pipeline.train`.

A configuration names a class by ``package.module:Class`` or ``path/to/file.py:Class``, so that another process can load
it. In the process that passed the object, the name refers to the object's own class, and nothing is imported again,
because the file may be the script that is running.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from pathlib import Path
from typing import Any

from pipeline.config.code_hash import code_sha256

_GIVEN: dict[str, type[Any]] = {}


def name_class(kind: type[Any]) -> str:
    """The name of a class in a configuration; from now on it means this class in this process.

    The module's name for a class of an installed or importable package, the file's path for one of a single file, and
    ``__main__:Class`` for one that was typed into an interpreter or a notebook.
    """
    module = sys.modules.get(kind.__module__)
    path = getattr(module, "__file__", None)
    if "." in kind.__module__ or path is None or not Path(path).is_file():
        where = kind.__module__
    else:
        where = str(Path(path).absolute())
    name = f"{where}:{kind.__qualname__}"
    _GIVEN[name] = kind
    return name


def given_class(name: str) -> type[Any] | None:
    """The class that this process gave a name to, or None."""
    return _GIVEN.get(name)


def source_file(kind: type[Any]) -> Path | None:
    """The file that defines a class; None for one that was typed into an interpreter or a notebook."""
    try:
        path = Path(inspect.getfile(kind))
    except (TypeError, OSError):
        return None
    return path if path.is_file() else None


def source_sha256(kind: type[Any]) -> str:
    """The SHA-256 of the source of a class without a file; of its byte code where Python does not keep the source."""
    try:
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()
    except (TypeError, OSError):
        return code_sha256(kind)
