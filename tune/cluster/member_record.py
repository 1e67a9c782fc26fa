"""The record of the Ray processes that `cluster up` started on this machine, and whether they still run."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tune.cluster.head_node import ClusterError

# Positions in /proc/PID/stat after the program's name; see proc(5).
_STATE, _SESSION, _BEGAN = 0, 3, 19


@dataclass(frozen=True)
class Member:
    """The processes that `cluster up` started on this machine.

    Attributes:
        role: head or worker.
        address: host:port of the cluster's head.
        process: The id of the first process of the session.
        began: The start time of that process, in clock ticks since the machine started, because ids are reused.
        folder: Ray's folder, with its logs.
    """

    role: str
    address: str
    process: int
    began: int
    folder: str

    @classmethod
    def of(cls, role: str, address: str, process: int, folder: str) -> Member:
        """The member whose first process has just been started."""
        stat = _read_stat(process)
        return cls(role, address, process, int(stat[_BEGAN]) if stat is not None else 0, folder)

    @property
    def alive(self) -> bool:
        """Whether any of its processes still runs: if the first one was killed, others may be left."""
        first = _read_stat(self.process)
        if first is not None and first[_STATE] != "Z":
            return int(first[_BEGAN]) == self.began
        return bool(self.running)

    @property
    def running(self) -> list[int]:
        """The running processes of its session, whether or not the first one still runs."""
        return _session(self.process)

    @property
    def is_left_over(self) -> bool:
        """Whether its first process has ended, and all that is left of its session has files of Ray's folder open.

        Other processes may have the session's id after a restart of the machine.
        """
        first = _read_stat(self.process)
        ended = first is None or first[_STATE] == "Z"
        return ended and all(_has_open(process, self.folder) for process in self.running)


def state_file() -> Path:
    """The file that records this user's member on this machine."""
    return Path(tempfile.gettempdir()) / f"spikeloom-cluster-{os.getuid()}.json"


def read_member() -> Member | None:
    """The member that `cluster up` started on this machine, if it still runs; otherwise None."""
    found = _read_state()
    return found if found is not None and found.alive else None


def _read_state() -> Member | None:
    path = state_file()
    try:
        # Other users can write to the temporary folder, and the processes and files named here are killed and removed.
        if path.lstat().st_uid != os.getuid():
            return None
        return Member(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def check_state() -> None:
    """Raise a ClusterError if the file that records the member exists, but cannot be read as this user's."""
    path = state_file()
    if os.path.lexists(path) and _read_state() is None:
        raise ClusterError(
            f"{path}: expected the record of a cluster process that this user started, found another file. "
            "List Ray's processes (ps -ef | grep ray), stop those that are left, and remove the file."
        )


def write_member(member: Member) -> None:
    """Record a member; ClusterError if the file cannot be written."""
    path = state_file()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            file.write(json.dumps(asdict(member)))
    except OSError as error:
        raise ClusterError(f"{path}: cannot be written ({error.strerror}). Remove it, or set TMPDIR.") from None


def forget_dead() -> None:
    """Remove the files of a member that was killed, such as by a restart of the machine."""
    found = _read_state()
    if found is not None and not found.alive:
        shutil.rmtree(found.folder, ignore_errors=True)
        state_file().unlink(missing_ok=True)


def forget(member: Member) -> None:
    """Remove the record of a member, unless another command has recorded another one meanwhile."""
    if _read_state() == member:
        state_file().unlink(missing_ok=True)


def _has_open(process: int, folder: str) -> bool:
    """Whether a process of this user has a file of a folder open, as all of Ray have their logs."""
    try:
        return any(os.readlink(link).startswith(f"{folder}/") for link in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False


def _session(leader: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        stat = _read_stat(int(folder.name)) if folder.name.isdigit() else None
        # A zombie is dead.
        if stat is not None and stat[_STATE] != "Z" and int(stat[_SESSION]) == leader:
            found.append(int(folder.name))
    return found


def _read_stat(process: int) -> list[str] | None:
    """The kernel's fields about a process, from its state on; None if there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
