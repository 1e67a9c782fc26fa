"""spikeloom status: the progress of a search or comparison, read from its files alone."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from preprocess.terminal.command_line import parse

_EVERY_S = 2.0


@dataclass(frozen=True)
class Arguments:
    """Show the progress of a search or comparison, while it runs (from another shell) or afterwards.

    Example: spikeloom status runs/tune-n-mnist-small-1
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """The folder of a search or comparison."""
    watch: bool = False
    """Refresh every two seconds until nothing is running."""
    json: bool = False
    """Print one JSON object instead of a table."""


def run(argv: list[str]) -> None:
    """Print a table and a few lines."""
    arguments = parse(Arguments, argv, prog="spikeloom status")
    from tune.commands.status_view import read_status

    folder = arguments.folder.expanduser().absolute()
    while True:
        status = read_status(folder)
        if arguments.json:
            print(json.dumps(status.describe()))
            return
        if arguments.watch and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        status.table().print()
        for line in status.lines():
            print(line, flush=True)
        if not (arguments.watch and status.alive):
            return
        time.sleep(_EVERY_S)
