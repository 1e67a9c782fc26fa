"""Errors that a user can correct: one line each, with where, what was expected, what was found, and what to do next."""

from __future__ import annotations

import re

# Control characters, line separators, marks that reverse the direction of text, and halves of surrogate pairs: a
# terminal obeys them, they split a line, or they cannot be written as UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST, _END = 3000, 1000


def printable_text(text: str) -> str:
    r"""The text with unprintable characters, such as those of a damaged header, as escapes like ``\x1b``."""
    return _UNPRINTABLE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The text as one line that can be printed; the middle of a very long text is left out."""
    escaped = printable_text(text)
    return escaped if len(escaped) <= _LONGEST else f"{escaped[: _LONGEST - _END]} ... {escaped[-_END:]}"


def more_errors(count: int) -> str:
    """The number of errors that are not listed: "1 more error of this kind"."""
    return f"{count} more error{'' if count == 1 else 's'} of this kind"


def reason_of(error: Exception) -> str:
    """An error as part of a message: its text if that was written for it, else its type and text."""
    if isinstance(error, SpikeloomError):
        return "; ".join(error.errors)
    return str(error) if type(error) is ValueError else repr(error)


class SpikeloomError(Exception):
    """An error in the user's arguments or files.

    The command line prints every error as one line, without a traceback, and exits with 2.
    Errors that can be found together are reported together.
    """

    def __init__(self, *errors: str) -> None:
        # All errors go to Exception.args, so that the error survives pickling between processes. They quote files,
        # whose text may be anything.
        super().__init__(*(one_line(str(error)) for error in errors))

    @property
    def errors(self) -> tuple[str, ...]:
        """One line for each error."""
        return self.args

    def __str__(self) -> str:
        return "\n".join(self.errors)


class RecordingError(SpikeloomError):
    """A raw recording is damaged, truncated, or of another sensor or format.

    Attributes:
        at: Byte of the file up to which its events are valid; None if nothing of it can be used.
    """

    at: int | None = None


class LayoutError(SpikeloomError):
    """A data set folder is missing or does not have the expected layout."""


class CacheError(SpikeloomError):
    """An event store or a frame cache is missing, damaged or cannot be written."""


class CacheMismatchError(CacheError):
    """A cache was made from other files, by another version, or with another binning."""


class ConfigError(SpikeloomError):
    """A configuration, a preset name or a field's value is not valid."""


class FullMemoryError(SpikeloomError):
    """A request does not fit into the memory of the machine or its GPU."""


class RunError(SpikeloomError):
    """A run, search or comparison folder is missing, damaged or cannot be continued."""
