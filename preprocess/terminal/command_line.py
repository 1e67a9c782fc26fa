"""Run a command: parse its options into typed arguments, print each error as one line, and return an exit code.

Exit codes: 0 success; 2 invalid arguments or files, or a file that the system refuses; 130 Ctrl-C; 143 SIGTERM;
1 any other error.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import partial
from importlib import import_module
from typing import Any, TypeVar, cast

from preprocess.errors import SpikeloomError
from preprocess.interrupts import Terminated, end_at_ctrl_c, raise_if_stopped, stopped_by_signals

T = TypeVar("T")

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

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


def parse(target: Callable[..., T], argv: Sequence[str], *, prog: str, **options: Any) -> T:
    """Call `target`, a function or dataclass, with the command-line arguments as its typed arguments.

    Args:
        target: Its signature defines the options, its docstring the help.
        argv: The arguments after the name of the command.
        prog: The program's name in the help, such as ``spikeloom inspect``.
        **options: Passed to ``tyro.cli``, such as ``default``.

    Raises:
        UsageError: With tyro's message, if the arguments are invalid.
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
    raise UsageError(f"{_message_of_tyro(call)}. See: {prog} --help")


def _message_of_tyro(call: Callable[[], object]) -> str:
    """Return the message of a failing call of tyro, in one line.

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
    return " ".join(message.split()).rstrip(".") or "invalid arguments"


def run_main(commands: Mapping[str, Command], *, prog: str, description: str, argv: Sequence[str] | None = None) -> int:
    """Run the command named in `argv` and return the exit code; user errors are printed without a traceback."""
    given = list(sys.argv[1:] if argv is None else argv)
    with stopped_by_signals():
        code = _run(commands, given, prog, description)
    if argv is None:
        atexit.register(end_at_ctrl_c)
    return code


def _run(commands: Mapping[str, Command], argv: list[str], prog: str, description: str) -> int:
    try:
        return _dispatch_or_stop(commands, argv, prog, description)
    except SpikeloomError as error:
        for message in error.errors:
            print(f"spikeloom: {message}", file=sys.stderr)
        return EXIT_ERROR
    except MemoryError as error:
        reason = " ".join(str(error).split())[:200] or "an allocation failed"
        print(
            f"spikeloom: out of memory ({reason}). Reduce what is processed at once; see {prog} --help", file=sys.stderr
        )
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("spikeloom: stopped by Ctrl-C; nothing is half-written", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Terminated:
        print("spikeloom: stopped by SIGTERM; nothing is half-written", file=sys.stderr)
        return EXIT_TERMINATED
    except BrokenPipeError:
        # The reader of the pipe, such as `head`, has read enough.
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno is None:
            raise  # It does not come from the operating system.
        print(f"spikeloom: {describe_os_error(error)}", file=sys.stderr)
        return EXIT_ERROR


def _dispatch_or_stop(commands: Mapping[str, Command], argv: list[str], prog: str, description: str) -> int:
    try:
        return _dispatch(commands, argv, prog, description)
    except Exception:
        # Clean-up after a signal may fail too, for example if the signal interrupted the import of a module.
        raise_if_stopped()
        raise


def describe_os_error(error: OSError) -> str:
    """One line for an error of the operating system that no other code has described."""
    where = f"{error.filename}: " if error.filename is not None else ""
    hints = {
        errno.ENOSPC: "Free space on the disk",
        errno.EDQUOT: "Free space in your quota",
        errno.EMFILE: "Raise the limit on open files (ulimit -n)",
        errno.ENFILE: "Close programs that keep many files open",
    }
    hint = hints.get(error.errno or 0, "Check the path and its permissions")
    expected = "expected a usable file or folder" if where else "expected a system call to succeed"
    return f"{where}{expected}, found: {error.strerror or error}. {hint}, then run the same command again."


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
