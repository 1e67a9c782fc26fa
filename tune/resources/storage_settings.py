"""The part of a storage that a search or comparison uses, recorded in its folder so that it is found on resume.

It is not part of the plan: where checkpoints are kept does not change any result.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from preprocess.errors import RunError
from preprocess.files import read_json, write_json
from preprocess.terminal.progress import Progress
from tune.resources.where_trials_run import ExecutionOptions

FILE = "storage.json"


def with_kept_storage(folder: Path, execution: ExecutionOptions) -> ExecutionOptions:
    """The options with the folder's storage, unless they name another; relative paths are resolved here.

    Raises:
        RunError: If the folder's `storage.json` is damaged.
    """
    url = execution.storage if execution.storage is not None else _read(folder).get("url")
    if url is not None and "://" not in url:
        url = str(Path(url).expanduser().absolute())
    return replace(execution, storage=url)


def own_storage(folder: Path, execution: ExecutionOptions, progress: Progress | None = None) -> ExecutionOptions:
    """The options with a part of the storage that no other search or comparison uses; it is recorded in the folder.

    Args:
        folder: The folder of the search or comparison, which exists.
        execution: The options of the user, or of the comparison that this search is part of.
        progress: Notes that checkpoints in another storage are not used.

    Raises:
        RunError: If the folder's `storage.json` is damaged or cannot be written.
    """
    execution = with_kept_storage(folder, execution)
    if execution.storage is None:
        return execution
    known = _read(folder)
    # The folder's name is for people; it need not be unique.
    part = known.get("part") or f"{folder.absolute().name}-{secrets.token_hex(4)}"
    if known.get("url") != execution.storage:
        if known and progress is not None:
            progress.note(f"checkpoints at {known['url']} are not used: unfinished trials start again from scratch")
        write_json(folder / FILE, {"url": execution.storage, "part": part})
    return replace(execution, storage=f"{execution.storage.rstrip('/')}/{part}")


def _read(folder: Path) -> dict[str, str]:
    """The storage's `url` and the folder's `part` of it; empty if the folder has none."""
    known = read_json(folder / FILE)
    if known is not None and not (isinstance(known.get("url"), str) and isinstance(known.get("part"), str)):
        raise RunError(
            f"{folder / FILE}: expected the keys url and part, found others. Delete the file, and give --storage again."
        )
    return known or {}
