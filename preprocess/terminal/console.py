"""The console for tables: as wide as the terminal, and wide enough for complete paths in files and pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# A file or a pipe has no width; a table squeezed to 80 columns breaks its paths.
_WIDTH_OF_FILES = 200


def console() -> Console:
    """A console for standard output."""
    import sys

    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
