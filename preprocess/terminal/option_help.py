"""The help of a command: its options with their types, defaults and descriptions, drawn by tyro.

tyro draws it from a dataclass that is made here for the options to show, without types and defaults that tell a reader
nothing, such as ``{None}|INT`` and ``(default: None)``. The command line itself is parsed with the command's class.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

_METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}


@dataclass(frozen=True)
class Option:
    """One option: its path with underscores, its type with tyro's annotations, its default, and its description."""

    path: str
    hint: Any
    default: Any
    text: str


def options_of(kind: type, instance: Any = None) -> list[Option]:
    """The options of a command's dataclass; defaults are those of an instance if one is given."""
    hints = typing.get_type_hints(kind, include_extras=True)
    docs = attribute_docs(kind)
    return [
        Option(part.name, hints[part.name], _default(part, instance), docs.get(part.name, ""))
        for part in dataclasses.fields(kind)
        if tyro.conf.Suppress not in annotations_of(hints[part.name])
    ]


def print_options(kind: type, options: Iterable[Option], prog: str) -> None:
    """Print the help of a command with the docstring of its class and these options."""
    sections: dict[str, list[Option]] = {}
    for option in options:
        sections.setdefault(option.path.rpartition(".")[0], []).append(option)
    entries = [_entry(option) for option in sections.pop("", [])]
    for name, parts in sections.items():
        inner = [_entry(dataclasses.replace(option, path=option.path.rpartition(".")[2])) for option in parts]
        section = make_dataclass(name, inner, namespace={"__doc__": ""})
        entries.append((name, section, field(default_factory=section)))
    draw(kind, entries, prog)


def print_flat_options(kind: type, options: Iterable[Option], prog: str) -> None:
    """As `print_options`, with the options of all sections in the given order."""
    draw(kind, [_entry(option) for option in options], prog)


def draw(kind: type, entries: list[tuple[str, Any, Any]], prog: str) -> None:
    """Let tyro print the help of a dataclass with these entries."""
    shown = make_dataclass("Options", entries, namespace={"__doc__": inspect.getdoc(kind)}, kw_only=True)
    with contextlib.suppress(SystemExit):
        tyro.cli(shown, args=["--help"], prog=prog, config=(tyro.conf.FlagCreatePairsOff,))


def attribute_docs(kind: type) -> dict[str, str]:
    """The string below each field of a class and its bases, which Python itself does not keep."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and _is_text(after):
                docs[statement.target.id] = re.sub(r"\s+", " ", after.value.value)  # type: ignore[attr-defined]
    return docs


def annotations_of(hint: Any) -> tuple[Any, ...]:
    """What a type is annotated with for tyro."""
    return typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()


def _default(part: dataclasses.Field[Any], instance: Any) -> Any:
    if instance is not None:
        return getattr(instance, part.name)
    return part.default_factory() if part.default_factory is not dataclasses.MISSING else part.default


def _entry(option: Option) -> tuple[str, Any, Any]:
    """Name, type and default of one option in a dataclass for tyro."""
    annotations = annotations_of(option.hint)
    hint = typing.get_args(option.hint)[0] if annotations else option.hint
    required = option.default is dataclasses.MISSING
    # The description says what happens without the option, which "(default: None)" does not.
    unset = required or option.default is None or option.default is False or option.default == ()
    argument = tyro.conf.arg(
        name=option.path,
        help=option.text or None,
        metavar=_metavar(hint),
        help_behavior_hint=_behavior_hint(required, unset),
    )
    name = option.path.replace(".", "_")
    default = field() if required else field(default_factory=functools.partial(_same, option.default))
    # The annotations come last, so that what the command itself says of an option is kept.
    return name, Annotated[(hint, argument, *annotations)], default


def _behavior_hint(required: bool, unset: bool) -> Any:
    if required:
        return "(required)"
    return "" if unset else _default_hint


def _default_hint(value: str) -> str:
    return f"(default: {value})"


def _metavar(hint: Any) -> str | None:
    """What stands for the value of an option of an optional type or of any number of values; None leaves it to tyro."""
    inner = _without_none(hint)
    values = typing.get_args(inner)
    if typing.get_origin(inner) is tuple and len(values) == 2 and values[1] is Ellipsis:
        metavar = _METAVARS.get(values[0])
        return f"{metavar} ..." if metavar else None
    if inner is hint:
        return None
    if typing.get_origin(inner) is tuple and all(value in _METAVARS for value in values):
        return " ".join(_METAVARS[value] for value in values)
    return "{" + ",".join(map(str, values)) + "}" if typing.get_origin(inner) is Literal else _METAVARS.get(inner)


def _without_none(hint: Any) -> Any:
    """The type of an optional value; the hint itself if it is not optional."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [option for option in typing.get_args(hint) if option is not type(None)]
        return others[0] if len(others) == 1 else hint
    return hint


def _same(value: Any) -> Any:
    return value


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
