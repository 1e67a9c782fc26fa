"""Exit codes of commands, and the errors that lead to them.

0 success; 2 invalid arguments or files, or a file that the system refuses; 130 Ctrl-C; 143 SIGTERM; 1 any other error,
with its traceback.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from preprocess.errors import SpikeloomError
from preprocess.interrupts import Terminated

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def exit_code_of(run: Callable[[], int], prog: str) -> int:
    """Run a command and return its exit code; errors of the user are printed, one line each, without a traceback."""
    try:
        return run()
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
