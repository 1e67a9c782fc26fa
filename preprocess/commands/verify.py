"""spikeloom verify: check that a cache is complete and matches its recordings."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from preprocess.errors import CacheError
from preprocess.inspection.verify_result import Verified
from preprocess.terminal.command_line import parse


@dataclass(frozen=True)
class Arguments:
    """Read a cache completely, bin its events again, and compare it with its recordings if they still exist.

    Example: spikeloom verify cache/n-mnist
    """

    cache_dir: Annotated[Path, tyro.conf.Positional]
    """The folder of a data set in the cache, or the cache folder for all data sets."""
    json: bool = False
    """Print one JSON object instead of a table."""


def run(argv: list[str]) -> None:
    """Print what was read and whether it is intact; CacheError with every error if not."""
    from preprocess.inspection.verify import verify_cache
    from preprocess.terminal.progress import progress_on_stderr

    arguments = parse(Arguments, argv, prog="spikeloom verify")
    results = verify_cache(arguments.cache_dir, progress=progress_on_stderr())
    if arguments.json:
        print(json.dumps({"files": [_answer(result) for result in results]}))
    else:
        _print_table(results)
    errors = [message for result in results for message in result.errors]
    if errors:
        raise CacheError(*errors)


def _answer(result: Verified) -> dict[str, Any]:
    samples, events = result.out_of_order
    answer = dataclasses.asdict(result) | {"path": str(result.path), "seconds": round(result.seconds, 3)}
    return answer | {"out_of_order": {"samples": samples, "events": events}}


def _verdict(result: Verified) -> str:
    """Whether the file is intact, and how many events it leaves out or counts twice."""
    parts = ["damaged" if result.errors else result.note or "intact"]
    if any(result.out_of_order):
        samples, events = result.out_of_order
        parts.append(f"{events:,} events of {samples:,} samples are out of order")
    if result.dropped:
        parts.append(f"{result.dropped:,} events are in no frame")
    if result.repeated:
        parts.append(f"{result.repeated:,} events are in several frames")
    return "; ".join(parts)


def _print_table(results: list[Verified]) -> None:
    from rich.table import Table

    from preprocess.terminal.console import console

    table = Table(title="Verified")
    table.add_column("file", overflow="fold")
    for name in ("samples", "events", "MB", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("verdict", overflow="fold")
    for result in results:
        numbers = (f"{result.samples:,}", f"{result.events:,}" if result.events else "", f"{result.size / 1e6:,.1f}")
        table.add_row(str(result.path), *numbers, f"{result.seconds:.2f}", _verdict(result))
    console().print(table)
