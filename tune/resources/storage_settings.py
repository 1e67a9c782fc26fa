"""Which part of which storage a search or comparison has: kept in its folder, so that a resumed one finds it again.

It is no part of what was asked for: where checkpoints are changes no result.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from preprocess.errors import RunError
from preprocess.files import read_json, write_json
from preprocess.terminal.progress import Progress
from tune.resources.execution_options import ExecutionOptions

FILE = "storage.json"


def with_kept_storage(folder: Path, execution: ExecutionOptions) -> ExecutionOptions:
    """The place, with the folder's storage where it has none of its own; a relative path means what it means here.

    Raises:
        RunError: If the folder's `storage.json` is damaged.
    """
    url = execution.storage if execution.storage is not None else _read(folder).get("url")
    if url is not None and "://" not in url:
        url = str(Path(url).expanduser().absolute())
    return replace(execution, storage=url)


def own_storage(folder: Path, execution: ExecutionOptions, progress: Progress | None = None) -> ExecutionOptions:
    """The place, its storage narrowed to a part that no other search or comparison has, and kept in the folder.

    Args:
        folder: Of the search or comparison; made already.
        execution: As the user has it, or that of a comparison whose part this is.
        progress: Where to tell that checkpoints stay at another storage.

    Raises:
        RunError: If the folder's `storage.json` is damaged or cannot be written.
    """
    execution = with_kept_storage(folder, execution)
    if execution.storage is None:
        return execution
    known = _read(folder)
    # The name is for people; of one name there may be several.
    part = known.get("part") or f"{folder.absolute().name}-{secrets.token_hex(4)}"
    if known.get("url") != execution.storage:
        if known and progress is not None:
            progress.note(f"checkpoints at {known['url']} are not used: trials that are not done begin anew")
        write_json(folder / FILE, {"url": execution.storage, "part": part})
    return replace(execution, storage=f"{execution.storage.rstrip('/')}/{part}")


def _read(folder: Path) -> dict[str, str]:
    """The storage's `url`, and the folder's `part` of it; nothing where the folder has none."""
    known = read_json(folder / FILE)
    if known is not None and not (isinstance(known.get("url"), str) and isinstance(known.get("part"), str)):
        raise RunError(f"{folder / FILE}: expected url and part, found others. Delete it, and give --storage again.")
    return known or {}
