"""Whether the neurons and networks of one's own that a search or comparison trained are still the same files."""

from __future__ import annotations

from pathlib import Path

from pipeline.runs.changed_code import CodeChange, changed_code_error
from tune.trials.ledger import BASIS, Ledger


def check_folder_code(folder: Path, *, accept: bool) -> None:
    """Refuse to go on where files changed since the trials of a folder; where that is accepted, `basis.json` lists it.

    Args:
        folder: Of a search or comparison, there or not.
        accept: Whether changes are accepted; what runs from then on rests on the files as they are now.

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
    """The changed files of a folder's trials, those that tune its arms or test its choice among them; each once."""
    return list(dict.fromkeys(change for ledger in _ledgers(folder) for change in ledger.changed_code()))


def _ledgers(folder: Path) -> list[Ledger]:
    return [Ledger(path.parent) for path in sorted(folder.rglob(BASIS))]
