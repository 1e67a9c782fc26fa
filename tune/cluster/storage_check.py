"""Before the first trial: does every machine reach the search's folder, and the storage that was asked for?"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from preprocess.files import write_whole
from preprocess.terminal.progress import Progress
from tune.cluster.nodes import actor_here, on_every_node
from tune.cluster.object_store import open_storage
from tune.cluster.ray_session import ClusterError
from tune.cluster.trial_storage import TOKEN, Receiver, TrialStorage, remove_abandoned, sees

_TRIAL = re.compile("[0-9a-f]{12}")


def connect_storage(folder: Path, url: str | None, progress: Progress) -> TrialStorage:
    """How trials' files come home, after every machine was asked.

    Args:
        folder: Of the search; made already.
        url: A path or URL for the large files of this folder alone; None keeps them in the folder.
        progress: Where to tell which machines do not see the folder.

    Raises:
        ClusterError: If a machine does not reach the storage.
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
            f"{len(blind)} of {len(answers)} machines do not see {folder} or cannot write there: {', '.join(blind[:3])}"
            f"{', ...' if len(blind) > 3 else ''}; their checkpoints come here through Ray after every epoch"
        )
    # A machine that joins later may not see it either.
    return TrialStorage(folder, token, actor_here(Receiver, str(folder), concurrency=8))


def _look(folder: Path, token: str) -> bool:
    """On a machine of the cluster: does it see the folder and write there? What earlier searches left there goes."""
    remove_abandoned()
    return sees(folder, token)


def write_token(folder: Path) -> str:
    """A word in the search's folder by which a machine knows that it sees it."""
    token = secrets.token_hex(8)
    write_whole(folder / TOKEN, lambda path: path.write_text(token))
    return token


def _report_unused_checkpoints(url: str, folder: Path, progress: Progress) -> None:
    """Tell of checkpoints that are of no use, because the epochs that belong to them are not at home."""
    from pyarrow import fs

    system, root = open_storage(url)
    there = [Path(info.path).name for info in system.get_file_info(fs.FileSelector(root))]
    strange = [
        name for name in there if _TRIAL.fullmatch(name) and not (folder / "trials" / name / "metrics.jsonl").exists()
    ]
    if strange:
        some = ", ".join(sorted(strange)[:3]) + (", ..." if len(strange) > 3 else "")
        progress.note(f"{url}: checkpoints of {some} are not used: their epochs are not in {folder}")


def _check_reached(url: str) -> None:
    """Every machine writes a file into the storage, and this one has to find them all."""
    system, root = open_storage(url)
    try:
        system.create_dir(root, recursive=True)
    except OSError as error:
        raise ClusterError(f"--storage {url}: cannot be written ({' '.join(str(error).split())[:200]})") from None
    word = secrets.token_hex(8)
    for answer in on_every_node(_write_probe, url, word):
        name = f"{root}/{word}-{answer.value['process']}-{answer.value['word']}"
        if answer.value["fault"] or system.get_file_info(name).size is None:
            told = answer.value["fault"] or "what it wrote there is not seen from here: the path is not shared"
            raise ClusterError(f"--storage {url}: {answer.name} does not reach it ({told}). Share it, or leave it out.")
        system.delete_file(name)


def _write_probe(url: str, word: str) -> dict[str, object]:
    """On a machine of the cluster: a file by which the driver knows that the storage is the same."""
    system, root = open_storage(url)
    own = {"process": os.getpid(), "word": secrets.token_hex(4), "fault": ""}
    try:
        # The driver made it: where it is missing, the path leads elsewhere.
        if system.get_file_info(root).type.name == "NotFound":
            return own | {"fault": "there is no such folder"}
        with system.open_output_stream(f"{root}/{word}-{own['process']}-{own['word']}") as stream:
            stream.write(b"here")
    except OSError as error:
        return own | {"fault": " ".join(str(error).split())[:200]}
    return own
