"""The folders in which trials train, and the transfer of their files to the search's folder, called home here.

A machine with access to the search's folder trains there. Any other machine trains in a local folder and sends changed
files home through Ray's object store after every epoch: metrics first, the checkpoint last, each file atomically. With
a storage (a shared path, or a URL that Arrow supports, such as s3://bucket/searches) every machine sends large files
there instead. Before a trial starts, its files are fetched from home and storage, so it can resume on any machine.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preprocess.errors import RunError
from preprocess.files import write_whole
from tune.cluster.storage_urls import fetch_large, store_large

if TYPE_CHECKING:
    from filelock import FileLock

TOKEN = ".token"
# Checkpoints come after their metrics, because a resumed run truncates metrics but cannot restore lost ones.
_ORDER = ("config.json", "environment.json", "metrics.jsonl", "timings.jsonl", "best.pt", "checkpoint.pt")
_LARGE = ("checkpoint.pt", "best.pt")
_LAST = ("result.json", "predictions.npz", "error.txt", "done.json")
_BLOCK = 8 * 2**20


class Receiver:
    """The receiving side: an actor on the driver's machine that reads and writes files of the search's folder."""

    def __init__(self, folder: str) -> None:
        self._trials = Path(folder) / "trials"

    def names(self, trial: str) -> list[str]:
        """The complete files of a trial, relative to its folder."""
        root = self._trials / trial
        paths = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")]
        return sorted(str(path.relative_to(root)) for path in paths)

    def clear(self, trial: str) -> None:
        """Delete incomplete transfers: the trial starts again, and the machine that sent them is lost."""
        for part in (self._trials / trial).glob(".*.part"):
            part.unlink(missing_ok=True)

    def read(self, trial: str, name: str, offset: int) -> bytes:
        """A block of a file; empty at its end."""
        with (self._trials / trial / name).open("rb") as file:
            file.seek(offset)
            return file.read(_BLOCK)

    def write(self, trial: str, name: str, part: str, offset: int, data: bytes) -> None:
        """Write a block of a file; `part` names this transfer."""
        path = self._part(trial, name, part)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if offset else "wb") as file:
                file.seek(offset)
                file.write(data)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise _unwritten(path.with_name(name), error) from None

    def finish(self, trial: str, name: str, part: str, digest: str) -> None:
        """Give a file its name, if its checksum is correct."""
        path = self._trials / trial / name
        temporary = self._part(trial, name, part)
        with temporary.open("rb") as file:
            arrived = hashlib.file_digest(file, "sha256").hexdigest()
        if arrived != digest:
            temporary.unlink()
            raise RunError(f"{path}: arrived damaged. Resume: the trial continues from its last checkpoint.")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda own: temporary.replace(own))
        temporary.unlink(missing_ok=True)

    def _part(self, trial: str, name: str, part: str) -> Path:
        return self._trials / trial / f".{name.replace('/', '-')}.{part}.part"


def _unwritten(path: Path, error: OSError) -> RunError:
    return RunError(f"{path}: cannot be written ({error.strerror or error}). Check the free space, then resume.")


@dataclass(frozen=True)
class TrialStorage:
    """The file exchange of a worker with the search's folder; sent with its task.

    Attributes:
        folder: The folder of the search, as the driver sees it.
        token: Written there by the driver: a machine that can read it has access to the folder.
        receiver: The actor on the driver's machine; None if no other machine can join.
        url: The storage for large files; None without one.
    """

    folder: Path
    token: str
    receiver: Any = None
    url: str | None = None

    def site(self, trial: str) -> TrialSite:
        """Where a trial trains on this machine."""
        if self.url is None and sees(self.folder, self.token):
            return TrialSite(trial, self.folder, self)
        root, lock = _own_root(trial)
        return TrialSite(trial, root, self, away=True, lock=lock)


def _own_root(trial: str) -> tuple[Path, FileLock]:
    """A local folder for one trial and a copy of the trial it starts from; its lock ends with this process."""
    from filelock import FileLock

    remove_abandoned()
    trials = _trials_here()
    trials.mkdir(mode=0o700, exist_ok=True)
    # Another user could have made it, and would then write what the trial reads.
    found = trials.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RunError(f"{trials}: expected a folder that only you can use, found another. Remove it, or set TMPDIR.")
    root = trials / f"{trial}-{secrets.token_hex(4)}"
    lock = FileLock(root.with_suffix(".lock"))
    # The folder is made under the lock: a folder whose lock is free was abandoned.
    lock.acquire()
    root.mkdir(mode=0o700)
    return root, lock


def remove_abandoned() -> None:
    """Remove the local folders of killed workers, whose locks are free."""
    from filelock import FileLock, Timeout

    for path in _trials_here().glob("*.lock"):
        with contextlib.suppress(Timeout, OSError), FileLock(path, timeout=0):
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        _trials_here().rmdir()


def _trials_here() -> Path:
    return Path(tempfile.gettempdir()) / f"spikeloom-trials-{os.getuid()}"


def sees(folder: Path, token: str) -> bool:
    """Whether this machine can read and write the driver's folder at its path; it may be mounted read-only."""
    own = folder / f".seen-{secrets.token_hex(4)}"
    try:
        if (folder / TOKEN).read_text() != token:
            return False
        own.touch()
    except OSError as error:
        # If the disk is full, the folder is the right one: later writes report the error.
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    finally:
        with contextlib.suppress(OSError):
            own.unlink()
    return True


@dataclass
class TrialSite:
    """A trial's folder on the machine that trains it.

    Attributes:
        trial: Its fingerprint.
        root: The folder for `tune.trials.ledger.Ledger`.
        storage: Exchanges files with the search's folder.
        away: Whether the trial trains in a local folder, so that files have to be exchanged.
        lock: Held while the trial trains in a local folder.
    """

    trial: str
    root: Path
    storage: TrialStorage
    away: bool = False
    lock: FileLock | None = None
    _sent: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The trial's run folder, ``trials/<trial>`` below the root."""
        return self.root / "trials" / self.trial

    def fetch(self, trial: str | None = None) -> None:
        """Fetch the files of the trial, or of another trial that it starts from, from home and storage."""
        # Names of trials are letters and digits. A path is a run of the user, which is read where it is.
        if not self.away or (trial is not None and not trial.isalnum()):
            return
        if trial is None:
            self._home("clear", self.trial)
        trial = trial or self.trial
        folder = self.root / "trials" / trial
        shutil.rmtree(folder, ignore_errors=True)
        names = self._home("names", trial)
        for name in names:
            if self.storage.url is None or name not in _LARGE:
                self._read(trial, name, folder / name)
        # A checkpoint without metrics belongs to another trial or cannot be used.
        if self.storage.url is not None and "metrics.jsonl" in names:
            for name in _LARGE:
                fetch_large(self.storage.url, f"{trial}/{name}", folder / name)

    def keep(self) -> None:
        """Send home the files that changed since the last time, the checkpoint last."""
        if self.away:
            self._send(_ORDER)

    def close(self, *, ended: bool) -> None:
        """Send home the remaining files of a trial that has ended, `done.json` last, and remove the local folder."""
        if not self.away:
            return
        try:
            if ended:
                others = [path for path in self.folder.rglob("tensorboard/*") if path.is_file()]
                self._send([*(str(path.relative_to(self.folder)) for path in others), *_ORDER, *_LAST])
        finally:
            shutil.rmtree(self.root, ignore_errors=True)
            if self.lock is not None:
                Path(self.lock.lock_file).unlink(missing_ok=True)
                self.lock.release()
            with contextlib.suppress(OSError):
                # The last trial on this machine.
                self.root.parent.rmdir()

    def _send(self, names: Any) -> None:
        for name in names:
            path = self.folder / name
            if not path.is_file():
                continue
            state = path.stat()
            mark = state.st_mtime_ns, state.st_size
            if self._sent.get(name) != mark:
                if self.storage.url is not None and name in _LARGE:
                    store_large(self.storage.url, f"{self.trial}/{name}", path)
                else:
                    self._write(name, path)
                self._sent[name] = mark

    def _write(self, name: str, path: Path) -> None:
        part, digest, offset = secrets.token_hex(4), hashlib.sha256(), 0
        with path.open("rb") as file:
            while (data := file.read(_BLOCK)) or not offset:
                digest.update(data)
                self._home("write", self.trial, name, part, offset, data)
                offset += len(data)
                if len(data) < _BLOCK:
                    break
        self._home("finish", self.trial, name, part, digest.hexdigest())

    def _read(self, trial: str, name: str, path: Path) -> None:
        def fill(temporary: Path) -> None:
            offset = 0
            with temporary.open("wb") as file:
                while data := self._home("read", trial, name, offset):
                    file.write(data)
                    offset += len(data)

        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, fill)

    def _home(self, method: str, *arguments: Any) -> Any:
        import ray

        try:
            return ray.get(getattr(self.storage.receiver, method).remote(*arguments))
        except ray.exceptions.RayTaskError as error:
            # The receiver's own error, such as a full disk.
            cause = error.cause
            raise cause if isinstance(cause, RunError) else error from None
