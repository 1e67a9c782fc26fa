"""Whether the custom neuron and network files of a search or comparison are unchanged."""

from __future__ import annotations

from pathlib import Path

from pipeline.runs.changed_code import CodeChange, changed_code_error
from tune.trials.ledger import BASIS, Ledger


def check_folder_code(folder: Path, *, accept: bool) -> None:
    """Refuse to continue if files changed since the trials of a folder; accepted changes are listed in `basis.json`.

    Args:
        folder: The folder of a search or comparison, existing or not.
        accept: Whether changes are accepted; later trials then use the files as they are now.

    Raises:
        RunError: With a line for each changed file.
    """
    changes = folder_changes(folder)
    if changes and not accept:
        raise changed_code_error(folder, changes)
    for ledger in _ledgers(folder):
        if mine := ledger.changed_code():
            ledger.accept(mine)


def folder_changes(folder: Path) -> list[CodeChange]:
    """The changed files of a folder's trials, including those of its tuning and final evaluation; each file once."""
    return list(dict.fromkeys(change for ledger in _ledgers(folder) for change in ledger.changed_code()))


def _ledgers(folder: Path) -> list[Ledger]:
    return [Ledger(path.parent) for path in sorted(folder.rglob(BASIS))]
