"""Where trials live while they train, and how their files come home to the search's folder.

A machine that sees the search's folder trains there. Any other trains in a folder of its own, and after every epoch
what changed comes home through Ray's object store: rows first, the checkpoint last, each file whole or not at all. With
a storage (a shared path, or a URL that Arrow knows, such as s3://bucket/searches) the large files go there instead,
from every machine. Before a trial starts, what home and storage hold of it is fetched: so it goes on elsewhere.
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
from tune.cluster.object_store import fetch_large, store_large

if TYPE_CHECKING:
    from filelock import FileLock

TOKEN = ".token"
# Behind the rows that belong to them, because a resumed run cuts rows, and cannot make up for lost ones.
_ORDER = ("config.json", "environment.json", "metrics.jsonl", "timings.jsonl", "best.pt", "checkpoint.pt")
_LARGE = ("checkpoint.pt", "best.pt")
_LAST = ("result.json", "predictions.npz", "error.txt", "done.json")
_BLOCK = 8 * 2**20


class Receiver:
    """Home's end: an actor beside the driver that reads and writes files of the search's folder."""

    def __init__(self, folder: str) -> None:
        self._trials = Path(folder) / "trials"

    def names(self, trial: str) -> list[str]:
        """The files of a trial, relative to its folder; none that is half-written."""
        root = self._trials / trial
        paths = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")]
        return sorted(str(path.relative_to(root)) for path in paths)

    def clear(self, trial: str) -> None:
        """Forget what never arrived whole: a trial begins anew, and the machine that sent it is lost."""
        for part in (self._trials / trial).glob(".*.part"):
            part.unlink(missing_ok=True)

    def read(self, trial: str, name: str, offset: int) -> bytes:
        """A block of a file; empty at its end."""
        with (self._trials / trial / name).open("rb") as file:
            file.seek(offset)
            return file.read(_BLOCK)

    def write(self, trial: str, name: str, part: str, offset: int, data: bytes) -> None:
        """A block of a file that is not there yet; `part` names this transfer of it."""
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
        """Give a file its name, if what came is what was sent."""
        path = self._trials / trial / name
        temporary = self._part(trial, name, part)
        with temporary.open("rb") as file:
            arrived = hashlib.file_digest(file, "sha256").hexdigest()
        if arrived != digest:
            temporary.unlink()
            raise RunError(f"{path}: arrived damaged. The trial goes on from its last checkpoint when it is resumed.")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda own: temporary.replace(own))
        temporary.unlink(missing_ok=True)

    def _part(self, trial: str, name: str, part: str) -> Path:
        return self._trials / trial / f".{name.replace('/', '-')}.{part}.part"


def _unwritten(path: Path, error: OSError) -> RunError:
    return RunError(f"{path}: cannot be written ({error.strerror or error}). Check the free space, then resume.")


@dataclass(frozen=True)
class TrialStorage:
    """What a worker is told; travels with its order.

    Attributes:
        folder: Of the search, as the driver sees it.
        token: What the driver wrote there: a machine that reads it sees the folder.
        receiver: The actor at home; None where no other machine can join.
        url: Of the storage for large files; None without one.
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
    """A folder on this machine for one trial, and a copy of the one that it starts from; its lock dies with us."""
    from filelock import FileLock

    remove_abandoned()
    trials = _trials_here()
    trials.mkdir(mode=0o700, exist_ok=True)
    root = trials / f"{trial}-{secrets.token_hex(4)}"
    lock = FileLock(root.with_suffix(".lock"))
    # The folder is made under the lock: one without a holder was left.
    lock.acquire()
    root.mkdir(mode=0o700)
    return root, lock


def remove_abandoned() -> None:
    """Remove from this machine what workers left that were killed, with their driver or alone: none holds the lock."""
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
    """Whether this machine sees the driver's folder at its path, and writes there: it may be mounted for readers."""
    own = folder / f".seen-{secrets.token_hex(4)}"
    try:
        if (folder / TOKEN).read_text() != token:
            return False
        own.touch()
    except OSError as error:
        # A disk that is full is the right one: what fails to be written there says so.
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
        root: What `tune.trials.ledger.Ledger` takes.
        storage: Where its files come from and go to.
        away: Whether they have to.
        lock: Held while the trial trains away.
    """

    trial: str
    root: Path
    storage: TrialStorage
    away: bool = False
    lock: FileLock | None = None
    _sent: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.root / "trials" / self.trial

    def fetch(self, trial: str | None = None) -> None:
        """Have here what home and storage hold of the trial, or of another of the search that it starts from."""
        # Trials' names are letters and digits. A path leads to a run that the user has, which is read where it is.
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
        # A checkpoint without its epochs is not this trial's, or of no use.
        if self.storage.url is not None and "metrics.jsonl" in names:
            for name in _LARGE:
                fetch_large(self.storage.url, f"{trial}/{name}", folder / name)

    def keep(self) -> None:
        """Bring home what changed since the last time, the checkpoint last."""
        if self.away:
            self._send(_ORDER)

    def close(self, *, ended: bool) -> None:
        """Bring home the rest of a trial that has come to its end, `done.json` last; nothing stays here."""
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

    def _home(self, method: str, *words: Any) -> Any:
        import ray

        try:
            return ray.get(getattr(self.storage.receiver, method).remote(*words))
        except ray.exceptions.RayTaskError as error:
            # Home's own words, such as a full disk.
            cause = error.cause
            raise cause if isinstance(cause, RunError) else error from None
