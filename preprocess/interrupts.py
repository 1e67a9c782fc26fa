"""Ctrl-C and SIGTERM, which stop a command even where Python drops the exception that they raise.

A signal's exception is raised wherever the main thread happens to be. In a finalizer, a `__del__` or a function that C
calls, Python prints and drops it, and the command would continue as if no signal had been sent. So the signal is
remembered as well, and long work checks for it between its batches.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn


class Terminated(BaseException):
    """SIGTERM arrived; unwinds like Ctrl-C, so that every clean-up runs."""


_EXCEPTIONS: dict[int, type[BaseException]] = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}

_received: int | None = None
"""The first signal that the running command received."""


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within the block, SIGINT raises KeyboardInterrupt and SIGTERM raises `Terminated`, and both are remembered.

    SIGINT stays ignored where it already is, as in background jobs of a shell. Only for the main thread.
    """
    global _received
    _received = None
    before: dict[int, Any] = {signal.SIGTERM: signal.signal(signal.SIGTERM, _stop)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _stop)
    unraisable, sys.unraisablehook = sys.unraisablehook, _keep_quiet(sys.unraisablehook)
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)
        _received = None


def raise_if_stopped() -> None:
    """Raise the exception of an earlier signal again, in case Python dropped it."""
    if _received is not None:
        raise _EXCEPTIONS[_received]


def end_at_ctrl_c() -> None:
    """Let Ctrl-C end the process at once, as SIGTERM does by default, for when nothing is left to do but to leave.

    The interpreter takes seconds to be torn down where much is loaded; Python would print a traceback of that.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _stop(number: int, _frame: object) -> NoReturn:
    global _received
    if _received is None:
        _received = number
    raise _EXCEPTIONS[number]


def _keep_quiet(hook: Any) -> Any:
    """The hook for exceptions that Python drops, silent about those that are raised again."""

    def report(dropped: Any) -> None:
        if dropped.exc_type not in _EXCEPTIONS.values():
            hook(dropped)

    return report
