"""Errors that a user can correct: one line each, with where, what was expected, what was found, and what to do next."""

from __future__ import annotations


class SpikeloomError(Exception):
    """An error in the user's arguments or files.

    The command line prints every error as one line, without a traceback, and exits with 2.
    Errors that can be found together are reported together.
    """

    def __init__(self, *errors: str) -> None:
        # All errors go to Exception.args, so that the error survives pickling between processes.
        super().__init__(*errors)

    @property
    def errors(self) -> tuple[str, ...]:
        """One line for each error."""
        return tuple(str(message) for message in self.args)

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
