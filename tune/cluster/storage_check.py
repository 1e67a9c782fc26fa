"""Check before the first trial that every machine can access the search's folder or the given storage."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from preprocess.files import write_whole
from preprocess.terminal.progress import Progress
from tune.cluster.head_node import ClusterError
from tune.cluster.nodes import actor_here, on_every_node
from tune.cluster.storage_urls import open_storage
from tune.cluster.trial_storage import TOKEN, Receiver, TrialStorage, remove_abandoned, sees

_TRIAL = re.compile("[0-9a-f]{12}")


def connect_storage(folder: Path, url: str | None, progress: Progress) -> TrialStorage:
    """Connect the trials to the search's folder or the storage, after a check on every machine.

    Args:
        folder: The folder of the search, which exists.
        url: A path or URL for the large files of this folder alone; None keeps them in the folder.
        progress: Notes which machines have no access to the folder.

    Raises:
        ClusterError: If a machine cannot access the storage.
    """
    token = write_token(folder)
    if url is not None:
        _check_reached(url)
        _report_unused_checkpoints(url, folder, progress)
        return TrialStorage(folder, token, actor_here(Receiver, str(folder), concurrency=8), url)
    answers = on_every_node(_look, folder, token)
    blind = [answer.name for answer in answers if not answer.value]
    if blind:
        progress.note(
            f"{len(blind)} of {len(answers)} machines cannot read or write {folder}: {', '.join(blind[:3])}"
            f"{', ...' if len(blind) > 3 else ''}; their checkpoints are sent here through Ray after every epoch"
        )
    # A machine that joins later may have no access either.
    return TrialStorage(folder, token, actor_here(Receiver, str(folder), concurrency=8))


def _look(folder: Path, token: str) -> bool:
    """On a machine of the cluster: whether it can read and write the folder. Removes the files of earlier searches."""
    remove_abandoned()
    return sees(folder, token)


def write_token(folder: Path) -> str:
    """Write a token to the search's folder, by which a machine recognises the folder."""
    token = secrets.token_hex(8)
    write_whole(folder / TOKEN, lambda path: path.write_text(token))
    return token


def _report_unused_checkpoints(url: str, folder: Path, progress: Progress) -> None:
    """Note checkpoints that cannot be used, because their epochs are not in the search's folder."""
    from pyarrow import fs

    system, root = open_storage(url)
    there = [Path(info.path).name for info in system.get_file_info(fs.FileSelector(root))]
    unused = [
        name for name in there if _TRIAL.fullmatch(name) and not (folder / "trials" / name / "metrics.jsonl").exists()
    ]
    if unused:
        some = ", ".join(sorted(unused)[:3]) + (", ..." if len(unused) > 3 else "")
        progress.note(f"{url}: checkpoints of {some} are not used: their epochs are not in {folder}")


def _check_reached(url: str) -> None:
    """Every machine writes a file to the storage, and this machine has to find all of them."""
    system, root = open_storage(url)
    try:
        system.create_dir(root, recursive=True)
    except OSError as error:
        raise ClusterError(
            f"--storage {url}: expected a writable storage, found: {' '.join(str(error).split())[:200]}"
        ) from None
    probe = secrets.token_hex(8)
    for answer in on_every_node(_write_probe, url, probe):
        name = f"{root}/{probe}-{answer.value['process']}-{answer.value['part']}"
        if answer.value["error"] or system.get_file_info(name).size is None:
            cause = answer.value["error"] or "its files are not visible from here: the path is not shared"
            raise ClusterError(
                f"--storage {url}: expected a storage that every machine can access, found that {answer.name} cannot "
                f"({cause}). Share the path, or leave --storage out."
            )
        system.delete_file(name)


def _write_probe(url: str, probe: str) -> dict[str, object]:
    """On a machine of the cluster: write a file by which the driver checks that the storage is the same."""
    system, root = open_storage(url)
    own = {"process": os.getpid(), "part": secrets.token_hex(4), "error": ""}
    try:
        # The driver created the folder: if it is missing, the path is not the same one.
        if system.get_file_info(root).type.name == "NotFound":
            return own | {"error": "there is no such folder"}
        with system.open_output_stream(f"{root}/{probe}-{own['process']}-{own['part']}") as stream:
            stream.write(b"here")
    except OSError as error:
        return own | {"error": " ".join(str(error).split())[:200]}
    return own
