"""Run a command: parse its options into typed arguments, print each error as one line, and return an exit code."""

from __future__ import annotations

import atexit
import contextlib
import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from importlib import import_module
from typing import Any, TypeVar, cast

from preprocess.errors import SpikeloomError
from preprocess.interrupts import end_at_ctrl_c, raise_if_stopped, stopped_by_signals
from preprocess.nearest_name import nearest_name
from preprocess.terminal.exit_codes import EXIT_ERROR, exit_code_of
from preprocess.terminal.tyro_messages import plain_message, with_nearest_option

T = TypeVar("T")

_RULE = re.compile(r"^\s*-{3,}\s*$", re.MULTILINE)


class UsageError(SpikeloomError):
    """The arguments of a command are invalid."""


@dataclass(frozen=True)
class Command:
    """One command: a line that describes it, and the module whose ``run(argv)`` executes it.

    The module is named, not imported, so that `--help` is fast and no command loads the libraries of another.
    """

    summary: str
    module: str


def parse(
    target: Callable[..., T],
    argv: Sequence[str],
    *,
    prog: str,
    nearest: Callable[[str], str | None] | None = None,
    **options: Any,
) -> T:
    """Call `target`, a function or dataclass, with the command-line arguments as its typed arguments.

    Args:
        target: Its signature defines the options, its docstring the help.
        argv: The arguments after the name of the command.
        prog: The program's name in the help, such as ``spikeloom inspect``.
        nearest: Finds the option that an unknown one, such as ``--taw``, most likely means; by default it compares the
            names of the dataclass's fields.
        **options: Passed to ``tyro.cli``, such as ``default``.

    Raises:
        UsageError: If the arguments are invalid.
        SystemExit: With code 0, after printing the help that was asked for.
    """
    import tyro

    if is_dataclass(target) and {"-h", "--help"} & set(argv):
        from preprocess.terminal.option_help import options_of, print_options

        kind = cast(type, target)
        print_options(kind, options_of(kind), prog)
        raise SystemExit(0)
    call = partial(tyro.cli, target, args=list(argv), prog=prog, **options)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return cast(T, call())
    except SystemExit as stop:
        if stop.code != EXIT_ERROR:
            raise
    message = f"{_message_of_tyro(call, prog)}. See: {prog} --help"
    raise UsageError(with_nearest_option(message, nearest or partial(_nearest_option, target)))


def _nearest_option(target: Callable[..., object], option: str) -> str | None:
    known = [part.name for part in fields(target)] if is_dataclass(target) else []
    return nearest_name(option.lstrip("-").replace("-", "_"), known)


def _message_of_tyro(call: Callable[[], object], prog: str) -> str:
    """Return the message of a failing call of tyro, in one line and this library's words.

    tyro prints its errors, and its exceptions do not contain the text. Without boxes and colours it prints the title,
    a line of hyphens, the message, another line of hyphens, and hints.
    """
    import tyro

    style = tyro._experimental_options
    before = style.copy()
    style["utf8_boxes"] = style["ansi_codes"] = False
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.suppress(SystemExit):
            call()
    finally:
        style.update(before)
    title, *rest = _RULE.split(printed.getvalue())
    message = rest[0] if rest and rest[0].strip() else title
    return plain_message(message, prog)


def run_main(commands: Mapping[str, Command], *, prog: str, description: str, argv: Sequence[str] | None = None) -> int:
    """Run the command named in `argv` and return the exit code; user errors are printed without a traceback."""
    given = list(sys.argv[1:] if argv is None else argv)
    with stopped_by_signals():
        code = exit_code_of(lambda: _dispatch_or_stop(commands, given, prog, description), prog)
    if argv is None:
        atexit.register(end_at_ctrl_c)
    return code


def _dispatch_or_stop(commands: Mapping[str, Command], argv: list[str], prog: str, description: str) -> int:
    try:
        return _dispatch(commands, argv, prog, description)
    except Exception:
        # Clean-up after a signal may fail too, for example if the signal interrupted the import of a module.
        raise_if_stopped()
        raise


def _dispatch(commands: Mapping[str, Command], argv: list[str], prog: str, description: str) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help(commands, prog, description))
        return 0 if argv else EXIT_ERROR
    if argv[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"spikeloom {version('spikeloom')}")
        return 0
    name, rest = argv[0], argv[1:]
    if name not in commands:
        import difflib

        near = difflib.get_close_matches(name, commands, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise UsageError(f"expected a command ({', '.join(commands)}), found '{name}'. {hint}See: {prog} --help")
    try:
        import_module(commands[name].module).run(rest)
    except SystemExit as stop:
        # tyro exits like this after it has printed the --help of a command.
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def _help(commands: Mapping[str, Command], prog: str, description: str) -> str:
    width = max(len(name) for name in commands)
    lines = [f"usage: {prog} COMMAND [options]", "", description, ""]
    lines += [f"  {name:<{width}}  {command.summary}" for name, command in commands.items()]
    lines += ["", f"Run '{prog} COMMAND --help' for details."]
    return "\n".join(lines)
