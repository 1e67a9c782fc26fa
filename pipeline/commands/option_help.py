"""The help of commands that accept every field of a configuration: the main options first, all of them on request.

tyro draws it from a dataclass that is made here and has the options to show; the command line itself is parsed with the
command's own class.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Collection, Iterable
from dataclasses import field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from pipeline.config.run_config import field_paths, flatten

_METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}


class _Option(NamedTuple):
    """One option: its path with underscores, the type of its value, its default, and what it does."""

    path: str
    hint: Any
    default: Any
    text: str


def print_help(arguments: Any, prog: str, *, everything: bool, hidden: Collection[str]) -> None:
    """Print the help of a command.

    Args:
        arguments: An instance of the command's class: its values are shown as defaults, its `fields` are the
            configuration, and its `MAIN_OPTIONS` name the options to show, in this order.
        prog: The command, such as ``spikeloom train``.
        everything: Whether all options are shown.
        hidden: Paths of fields that are not options.
    """
    options = {option.path: option for option in _options(arguments) if option.path not in hidden}
    everything = everything or not arguments.MAIN_OPTIONS
    shown = _grouped(options.values()) if everything else [_entry(options[path]) for path in arguments.MAIN_OPTIONS]
    kind = make_dataclass("Options", shown, namespace={"__doc__": inspect.getdoc(type(arguments))})
    with contextlib.suppress(SystemExit):
        config = (tyro.conf.FlagCreatePairsOff,)
        tyro.cli(kind, args=["--help"], prog=f"{prog} [PRESET]", config=config)
    if not everything:
        print(f"These are the main options. Show all {len(options)}: {prog} --help-all")


def _options(arguments: Any) -> list[_Option]:
    """The command's own options, then the configuration's."""
    hints = typing.get_type_hints(type(arguments), include_extras=True)
    docs = _attribute_docs(type(arguments))
    own = [
        _Option(part.name, hints[part.name], getattr(arguments, part.name), docs.get(part.name, ""))
        for part in fields(arguments)
        if part.name not in ("preset", "fields") and tyro.conf.Suppress not in _marks(hints[part.name])
    ]
    values, docs = flatten(arguments.fields), _field_docs(type(arguments.fields))
    return own + [_Option(path, hint, values[path], docs.get(path, "")) for path, hint in field_paths().items()]


def _grouped(options: Iterable[_Option]) -> list[tuple[str, Any, Any]]:
    """Entries of a dataclass: options without a section, then a dataclass for each section."""
    sections: dict[str, list[_Option]] = {}
    for option in options:
        sections.setdefault(option.path.rpartition(".")[0], []).append(option)
    shown = [_entry(option) for option in sections.pop("", [])]
    for name, parts in sections.items():
        entries = [_entry(option._replace(path=option.path.rpartition(".")[2])) for option in parts]
        section = make_dataclass(name, entries, namespace={"__doc__": ""})
        shown.append((name, section, field(default_factory=section)))
    return shown


def _entry(option: _Option) -> tuple[str, Any, Any]:
    """Name, type and default of one option in a dataclass for tyro."""
    marks = _marks(option.hint)
    hint = typing.get_args(option.hint)[0] if marks else option.hint
    inner = _without_none(hint)
    metavar = None
    if inner is not hint:
        choices = typing.get_args(inner) if typing.get_origin(inner) is Literal else ()
        metavar = "{" + ",".join(map(str, choices)) + "}" if choices else _METAVARS.get(inner)
    # The text says what happens without the option, which "(default: None)" does not.
    unset = option.default is None or option.default is False or option.default == ()
    argument = tyro.conf.arg(
        name=option.path,
        help=option.text or None,
        metavar=metavar,
        help_behavior_hint="" if unset else _default_hint,
    )
    name = option.path.replace(".", "_")
    # What the command itself says of an option, such as a text that is made from a registry, is kept.
    return name, Annotated[(hint, argument, *marks)], field(default_factory=functools.partial(_same, option.default))


def _default_hint(value: str) -> str:
    return f"(default: {value})"


def _same(value: Any) -> Any:
    return value


def _marks(hint: Any) -> tuple[Any, ...]:
    """What tyro is told of an option beside its type."""
    return typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()


def _without_none(hint: Any) -> Any:
    """The type of an optional value; the hint itself where it is not optional."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [option for option in typing.get_args(hint) if option is not type(None)]
        return others[0] if len(others) == 1 else hint
    return hint


def _field_docs(config_type: type) -> dict[str, str]:
    """What each field of a configuration does, by its path."""
    docs = _attribute_docs(config_type)
    for name, hint in typing.get_type_hints(config_type).items():
        if is_dataclass(hint):
            docs |= {f"{name}.{inner}": text for inner, text in _attribute_docs(typing.cast(type, hint)).items()}
    return docs


def _attribute_docs(kind: type) -> dict[str, str]:
    """The string below each field of a class and its bases, which Python itself does not keep."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and _is_text(after):
                docs[statement.target.id] = re.sub(r"\s+", " ", after.value.value)  # type: ignore[attr-defined]
    return docs


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
