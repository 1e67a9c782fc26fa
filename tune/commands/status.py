"""spikeloom status: how a search or comparison stands, read from its files alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from preprocess.command_line import parse


@dataclass(frozen=True)
class Arguments:
    """Show how far a search or comparison is, from another shell, while it runs or afterwards.

    Example: spikeloom status runs/tune-n-mnist-small-1
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Of a search or comparison."""


def run(words: list[str]) -> None:
    """Print one table and a few lines."""
    arguments = parse(Arguments, words, prog="spikeloom status")
    from tune.status import read_status

    status = read_status(arguments.folder.expanduser().absolute())
    status.table().print()
    for line in status.lines():
        print(line)
