"""The console for tables: as wide as the terminal, and in files and pipes wide enough for complete paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Files and pipes have no width; in a table of 80 columns, paths would be broken.
_WIDTH_OF_FILES = 200


def console() -> Console:
    """A console for standard output."""
    import sys

    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
