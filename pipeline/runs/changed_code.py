"""Detect changes of the files that define a run's custom neuron or network.

`environment.json` records the SHA-256 of the file that defines the class, and of every local file that it imports
(`pipeline.config.imported_files`); installed packages are recorded by their versions. Runs of earlier versions are
checked by what they recorded; without a record they open as before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config.custom_classes import outside_sources, sha256_of
from pipeline.runs.run_folder import Run
from preprocess.errors import RunError

FLAG = "--accept-changed-code"
KEY = "accepted_changed_code"
"""The key under which environment.json, result.json, evaluation.json and basis.json list the accepted changes."""


@dataclass(frozen=True)
class CodeChange:
    """A file of custom code that changed since a run was trained with it.

    Attributes:
        file: Its path.
        trained: The SHA-256 that the run was trained with.
        found: The SHA-256 that it has now.
    """

    file: str
    trained: str
    found: str

    def __str__(self) -> str:
        return f"{self.file} has SHA-256 {self.found[:12]}, expected {self.trained[:12]}"


def code_changes(run: Run) -> list[CodeChange]:
    """Return the files that changed since a run was trained, according to its latest `environment.json`.

    Raises:
        ConfigError: If a custom class of the run cannot be loaded any more.
    """
    recorded = run.environment.get("outside") or {}
    if not recorded:
        return []
    current = outside_sources(run.config)
    changes: dict[str, CodeChange] = {}
    for field, was in recorded.items():
        now = current.get(field)
        if now is not None:
            found = {now["file"]: (was["sha256"], now["sha256"]), **_imports(was, Path(now["file"]).parent)}
            values = now.get("values", {})
            found |= {what: (trained, values.get(what, "")) for what, trained in was.get("values", {}).items()}
            # Earlier versions had no hash of a class that was typed into an interpreter.
            known = {file: hashes for file, hashes in found.items() if hashes[0]}
            changes |= {file: CodeChange(file, *hashes) for file, hashes in known.items() if hashes[0] != hashes[1]}
    return list(changes.values())


def _imports(was: Mapping[str, Any], folder: Path) -> dict[str, tuple[str, str]]:
    """The hashes of imported files at training and now; looked up next to the class's file if run or code was moved.

    Missing files are left out: either the class's file changed too, or its import fails.
    """
    before = Path(was["file"]).parent
    found = {}
    for path, trained in was.get("imports", {}).items():
        moved = Path(os.path.normpath(folder / os.path.relpath(path, before)))
        file = moved if moved.is_file() else Path(path)
        if file.is_file():
            found[str(file)] = trained, sha256_of(file)
    return found


def check_code(run: Run) -> list[dict[str, str]]:
    """Return the changes of a run's custom code, to be recorded, if the run was opened with `accept_changed_code`.

    Raises:
        RunError: If there are changes that were not accepted, with a line for each file.
        ConfigError: If a custom class of the run cannot be loaded any more.
    """
    changes = code_changes(run)
    if changes and not run.accept_changed_code:
        raise changed_code_error(run.folder, changes)
    return [asdict(change) for change in changes]


def changed_code_error(folder: Path, changes: Sequence[CodeChange]) -> RunError:
    """Return the error with both hashes of each file and what to do next."""
    what_next = f"Restore it, train again in another --out, or accept the change with {FLAG}."
    return RunError(*(f"{folder}: {change}: it changed since the training. {what_next}" for change in changes))


def joined_records(*parts: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Join records of accepted changes, without duplicates."""
    return [dict(items) for items in dict.fromkeys(tuple(record.items()) for part in parts for record in part)]


def accepted_sentence(records: Sequence[Mapping[str, str]]) -> str:
    """Return a sentence for tables on files that changed between training and this result; "" if none did."""
    if not records:
        return ""
    parts = ([record.get(name, "?") for name in ("file", "trained", "found")] for record in records)
    files = ", ".join(f"{file} ({trained[:12]} to {found[:12]})" for file, trained, found in parts)
    return f"Code changed since the training, accepted with {FLAG}: {files}"
