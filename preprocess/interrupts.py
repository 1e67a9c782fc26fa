"""Ctrl-C and SIGTERM stop a command even if Python drops the exception that they raise.

The exception of a signal is raised wherever the main thread is at that moment. In a finalizer, a `__del__` method or a
callback from C, Python prints and drops it, and the command would continue as if there had been no signal. So the
signal is recorded as well, and long work checks for it between batches.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn


class Terminated(BaseException):
    """Raised by SIGTERM, so that clean-up code runs as it does for Ctrl-C."""


_EXCEPTIONS: dict[int, type[BaseException]] = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}

_received: int | None = None
"""The first signal that the running command received."""


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within the block, SIGINT raises KeyboardInterrupt and SIGTERM raises `Terminated`, and both are recorded.

    SIGINT stays ignored if it already is, as in background jobs of a shell. Call this in the main thread only.
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
    """Make Ctrl-C end the process immediately, as SIGTERM does by default; called before the interpreter exits.

    With many modules loaded, the exit takes seconds, and Ctrl-C would print a traceback of the shutdown.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _stop(number: int, _frame: object) -> NoReturn:
    global _received
    if _received is None:
        _received = number
    raise _EXCEPTIONS[number]


def _keep_quiet(hook: Any) -> Any:
    """Wrap the hook for exceptions that Python drops, to ignore those that are raised again."""

    def report(dropped: Any) -> None:
        if dropped.exc_type not in _EXCEPTIONS.values():
            hook(dropped)

    return report
