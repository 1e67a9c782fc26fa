"""A hash of functions and classes that are in no file of their own: of a script, a notebook or an interpreter.

It depends on what they compute with: their byte code, default and closure values, the attributes of callable objects,
and what they refer to in ``__main__``. Comments, and other parts of the script, do not change it.

What a user's module defines is known by the content of its file, and by the values that a script gave it: those of
closures and of objects (`values_sha256`). What an installed module defines is known by its name.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from pipeline.config.imported_files import local_file

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def code_sha256(made: Any) -> str:
    """The SHA-256 of a function, a class, or a callable object."""
    digest = hashlib.sha256()
    for part in _parts(made, set()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def values_sha256(made: Any) -> str:
    """The SHA-256 of the values that a function, class or method carries with it; "" if there are none.

    Two functions that a module makes with different arguments have the same file and code, and differ in these alone.
    """
    if isinstance(made, MethodType):
        values = [made.__self__]
    elif isinstance(made, type):
        # The cell of super() contains the class itself.
        methods = [value for value in vars(made).values() if isinstance(value, FunctionType)]
        values = [value for method in methods for value in _enclosed(method) if value is not made]
    else:
        values = _enclosed(made) if isinstance(made, FunctionType) else []
    if not values:
        return ""
    digest = hashlib.sha256()
    for part in _all(values, {id(made)}):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _enclosed(function: FunctionType) -> list[Any]:
    """The values of a function's closure."""
    values = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a name that is assigned later
            values.append(cell.cell_contents)
    return values


def _parts(value: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(value, _PLAIN):
        yield repr(value)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, type):
        yield from _class(value, seen)
    elif isinstance(value, CodeType):
        yield from _code(value, value.co_consts, seen)
    elif isinstance(value, ModuleType):
        yield value.__name__
    elif isinstance(value, MethodType):
        yield from _all((value.__func__, value.__self__), seen)
    elif isinstance(value, functools.partial):
        yield from _all((value.func, value.args, value.keywords), seen)
    elif isinstance(value, property):
        yield from _all((value.fget, value.fset), seen)
    elif isinstance(value, staticmethod | classmethod):
        yield from _parts(value.__func__, seen)
    elif isinstance(value, tuple | list):
        yield from _all(value, seen)
    elif isinstance(value, dict):
        yield from _all([item for pair in value.items() for item in pair], seen)
    elif isinstance(value, set | frozenset):
        yield str(sorted(map(repr, value)))
    else:
        yield without_addresses(repr(value))
        yield from _parts(type(value), seen)
        # The representation of a module of torch has its layers; its initial weights are random.
        local = _is_ours(type(value)) or local_file(type(value).__module__) is not None
        if local and not hasattr(value, "parameters"):
            yield from _parts(getattr(value, "__dict__", {}), seen)


def _all(values: Any, seen: set[int]) -> Iterator[str]:
    yield str(len(values))
    for value in values:
        yield from _parts(value, seen)


def _function(function: FunctionType, seen: set[int]) -> Iterator[str]:
    if not _is_ours(function):
        yield from _imported(function)
        if local_file(function.__module__) is not None:
            for value in _enclosed(function):
                yield from _parts(value, seen)
        return
    code = function.__code__
    constants = code.co_consts
    if constants and function.__doc__ is not None and constants[0] == function.__doc__:
        constants = (None, *constants[1:])
    yield from _code(code, constants, seen)
    yield from _all((function.__defaults__, function.__kwdefaults__), seen)
    for value in _enclosed(function):
        yield from _parts(value, seen)
    for name in sorted(set(_names(code)) & set(function.__globals__)):
        yield name
        yield from _parts(function.__globals__[name], seen)


def _code(code: CodeType, constants: tuple[Any, ...], seen: set[int]) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames}"
    yield from _all(constants, seen)


def _class(kind: type[Any], seen: set[int]) -> Iterator[str]:
    if not _is_ours(kind):
        yield from _imported(kind)
        return
    yield from _all(kind.__bases__, seen)
    for name, value in sorted(vars(kind).items()):
        if not name.startswith("__") or isinstance(value, FunctionType):
            yield name
            yield from _parts(value, seen)


def _is_ours(value: Any) -> bool:
    """Whether it is part of the script or notebook itself, not of a module."""
    return getattr(value, "__module__", None) in ("__main__", None)


def _imported(value: type[Any] | FunctionType) -> Iterator[str]:
    """The name of what a module defines; also the content of its file, unless it is installed."""
    yield f"{value.__module__}.{value.__qualname__}"
    file = local_file(value.__module__)
    if file is not None:
        yield hashlib.sha256(file.read_bytes()).hexdigest()


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def without_addresses(text: str) -> str:
    """A text without the addresses in memory that `repr` adds to objects such as functions."""
    return _ADDRESS.sub("", text)
