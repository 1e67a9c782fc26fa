"""One way to run a verb: typed functions become flags, faults become one line, exit codes mean something.

Exit codes: 0 done; 2 the user's arguments or files are wrong, or the system refuses a file; 130 Ctrl-C;
143 SIGTERM; 1 anything else.
"""

from __future__ import annotations

import contextlib
import errno
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from preprocess.errors import SpikeloomError
from preprocess.interrupts import Terminated, end_at_ctrl_c, raise_if_stopped, stopped_by_signals

T = TypeVar("T")

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class UsageError(SpikeloomError):
    """The words of a command line are off."""


@dataclass(frozen=True)
class Verb:
    """One word of the command line: what it does in a line, and the module whose ``run(words)`` does it.

    The module is named, not imported, so that `--help` answers at once and one verb never loads another's libraries.
    """

    summary: str
    module: str


def parse(target: Callable[..., T], words: Sequence[str], *, prog: str, **options: Any) -> T:
    """Call `target`, a function or dataclass, with the words as its typed arguments.

    Args:
        target: Its signature gives the flags, its docstring the help.
        words: The command line after the verb.
        prog: What the help calls the program, such as ``spikeloom inspect``.
        **options: Passed to ``tyro.cli``, such as ``default``.

    Raises:
        UsageError: In tyro's words, when the command line does not fit.
    """
    import tyro

    # tyro prints its refusals as a box on stderr and leaves; it has no public way to get the words alone.
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(target, args=list(words), prog=prog, **options)
    except SystemExit as stop:
        if stop.code == EXIT_ERROR:
            raise UsageError(f"{_words_of_box(box.getvalue())}. See: {prog} --help") from None
        raise


def _words_of_box(box: str) -> str:
    """The text of tyro's box up to its first rule, in one line."""
    lines: list[str] = []
    titled = "╭" in box
    for line in box.splitlines():
        text = line.strip("│ ").strip()
        if line.startswith("╭") or not text:
            continue
        if set(text) <= {"─", "╰", "╯"}:
            break
        if set(text) == {"-"}:
            # Without Unicode the box is rules of hyphens: the title stands above the first, the hint below the second.
            if titled:
                break
            titled = True
            lines.clear()
            continue
        lines.append(text)
    return " ".join(" ".join(lines).split()).rstrip(".") or "these words do not fit"


def run_main(verbs: Mapping[str, Verb], *, prog: str, description: str, argv: Sequence[str] | None = None) -> int:
    """Run one verb of `argv` and return the exit code; never shows a traceback for a user's fault."""
    words = list(sys.argv[1:] if argv is None else argv)
    with stopped_by_signals():
        code = _run(verbs, words, prog, description)
    if argv is None:
        end_at_ctrl_c()
    return code


def _run(verbs: Mapping[str, Verb], words: list[str], prog: str, description: str) -> int:
    try:
        return _dispatch_or_stop(verbs, words, prog, description)
    except SpikeloomError as error:
        for message in error.errors:
            print(f"spikeloom: {message}", file=sys.stderr)
        return EXIT_ERROR
    except MemoryError as error:
        told = " ".join(str(error).split())[:200] or "no more was to be had"
        print(f"spikeloom: out of memory ({told}). Ask for less at once: see {prog} --help", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("spikeloom: stopped by Ctrl-C; nothing is half-written", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Terminated:
        print("spikeloom: stopped by SIGTERM; nothing is half-written", file=sys.stderr)
        return EXIT_TERMINATED
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted.
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno is None:
            raise  # Not the system's refusal of a file.
        print(f"spikeloom: {describe_os_error(error)}", file=sys.stderr)
        return EXIT_ERROR


def _dispatch_or_stop(verbs: Mapping[str, Verb], words: list[str], prog: str, description: str) -> int:
    try:
        return _dispatch(verbs, words, prog, description)
    except Exception:
        # A clean-up after a signal may fail in its turn, such as on a module whose import the signal cut short.
        raise_if_stopped()
        raise


def describe_os_error(error: OSError) -> str:
    """One line for what the system refused, where nothing closer to it did say more."""
    where = f"{error.filename}: " if error.filename is not None else ""
    hints = {
        errno.ENOSPC: "Free space on the disk",
        errno.EDQUOT: "Free space within the quota",
        errno.EMFILE: "Raise the limit of open files (ulimit -n)",
        errno.ENFILE: "Close programs that hold many files open",
    }
    hint = hints.get(error.errno or 0, "Check that the path is right and that you have the permissions for it")
    expected = "expected a file or folder that can be used" if where else "expected the system to do what was asked"
    return f"{where}{expected}, found: {error.strerror or error}. {hint}, then run the same command again."


def _dispatch(verbs: Mapping[str, Verb], words: list[str], prog: str, description: str) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help(verbs, prog, description))
        return 0 if words else EXIT_ERROR
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"spikeloom {version('spikeloom')}")
        return 0
    name, rest = words[0], words[1:]
    if name not in verbs:
        import difflib

        near = difflib.get_close_matches(name, verbs, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise UsageError(f"unknown verb '{name}', expected one of: {', '.join(verbs)}. {hint}See: {prog} --help")
    try:
        import_module(verbs[name].module).run(rest)
    except SystemExit as stop:
        # tyro leaves this way after printing a verb's --help.
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def _help(verbs: Mapping[str, Verb], prog: str, description: str) -> str:
    width = max(len(name) for name in verbs)
    lines = [f"usage: {prog} VERB [words]", "", description, ""]
    lines += [f"  {name:<{width}}  {verb.summary}" for name, verb in verbs.items()]
    lines += ["", f"Each verb explains itself: {prog} VERB --help"]
    return "\n".join(lines)
