"""The Ray processes of one machine in a cluster: started in a session, recorded in a file, and stopped completely.

``ray stop`` would end every Ray of the user on the machine; here only the session of processes that was started is
stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tune.cluster.head_node import ClusterError, check_answers, check_compatible, listens
from tune.cluster.ray_session import ENVIRONMENT, make_token, short_temporary_root, token_file, use_token

PORT = 6379
_LOOPBACK = "127.0.0.1"
_START_S = 180.0
_STOP_S = 8.0
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

    @property
    def alive(self) -> bool:
        """Whether any of its processes still runs: if the first one was killed, others may be left."""
        first = _read_stat(self.process)
        if first is not None and first[_STATE] != "Z":
            return int(first[_BEGAN]) == self.began
        return bool(_session(self.process))

    @property
    def is_left_over(self) -> bool:
        """Whether its first process has ended, and all that is left of its session has files of Ray's folder open.

        Other processes may have the session's id after a restart of the machine.
        """
        first = _read_stat(self.process)
        ended = first is None or first[_STATE] == "Z"
        return ended and all(_has_open(process, self.folder) for process in _session(self.process))


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


def _write_state(member: Member) -> None:
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


def start_member(
    address: str | None,
    *,
    port: int = PORT,
    node_ip: str | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
) -> Member:
    """Start a head, or join the cluster of an address, and wait until it runs.

    Args:
        address: host:port of the head to join; None starts a head.
        port: The port of a new head.
        node_ip: The address at which other machines reach this one; None for that of the default route.
        cpus: The number of CPUs to offer; None for all.
        gpus: The number of GPUs to offer; None for all.

    Raises:
        ClusterError: If a member already runs here, the port is in use, the head does not answer, or Ray does not
            start.
    """
    there = read_member()
    if there is not None and there.is_left_over:
        stop_member(there)
    elif there is not None:
        raise ClusterError(
            f"expected a machine outside any cluster, found the {there.role} of {there.address}. Leave it first: "
            "spikeloom cluster down"
        )
    forget_dead()
    if address is None:
        ip = node_ip or own_address()
        if listens(ip, port) is None:
            raise ClusterError(f"--port {port}: expected a free port of {ip}, found one in use. Choose another --port.")
        argv = ["--head", "--port", str(port), "--include-dashboard=false", "--node-ip-address", ip]
        member_of = f"{ip}:{port}"
        make_token()
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    else:
        member_of = address
        check_answers(address, "Start its head first: spikeloom cluster up")
        use_token()
        check_compatible(address, token=str(token_file()))
        argv = ["--address", address, *(["--node-ip-address", node_ip] if node_ip else [])]
    for name, value in (("--num-cpus", cpus), ("--num-gpus", gpus)):
        argv += [] if value is None else [name, str(value)]
    folder = Path(tempfile.mkdtemp(prefix="spikeloom-", dir=short_temporary_root()))
    # Otherwise a worker would make a folder with the head's name, which nobody removes.
    process = _spawn([*argv, "--temp-dir", str(folder / "r")], folder)
    stat = _read_stat(process.pid)
    began = int(stat[_BEGAN]) if stat is not None else 0
    member = Member("head" if address is None else "worker", member_of, process.pid, began, str(folder))
    try:
        _write_state(member)
        _wait(process, member, folder)
    except BaseException:
        stop_member(member)
        raise
    return member


def _spawn(argv: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Run `ray start --block` in a new session, with its output in a file."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *argv]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Workers import the same modules as the shell: custom neurons, or a checkout.
            env=os.environ | ENVIRONMENT,
        )


def _wait(process: subprocess.Popen[bytes], member: Member, folder: Path) -> None:
    """Wait until Ray reports that it runs; ClusterError if it exits or takes a minute."""
    end = time.monotonic() + _START_S
    while b"Ray runtime started" not in (log := (folder / "log").read_bytes()):
        if process.poll() is not None:
            raise ClusterError(f"Ray did not start as {member.role} of {member.address}: {_last_line(log)}")
        if time.monotonic() > end:
            raise ClusterError(f"Ray did not start in {_START_S:.0f} s: {_last_line(log)}. Is the machine very busy?")
        time.sleep(0.1)


def _last_line(log: bytes) -> str:
    lines = [line.strip() for line in log.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "error" in line]
    return (errors or lines or ["no output"])[-1][:300]


def stop_member(member: Member) -> None:
    """Stop a member's processes, by force if necessary, and remove its files."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + _STOP_S
        while (left := _session(member.process)) and time.monotonic() < end:
            for process in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, number)
            time.sleep(0.2)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(member.process, os.WNOHANG)
    shutil.rmtree(member.folder, ignore_errors=True)
    # Another command may have recorded another member meanwhile.
    if _read_state() == member:
        state_file().unlink(missing_ok=True)


def _has_open(process: int, folder: str) -> bool:
    """Whether a process of this user has a file of a folder open, as all of Ray have their logs."""
    try:
        return any(os.readlink(link).startswith(f"{folder}/") for link in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False


def _session(leader: int) -> list[int]:
    """The running processes of a session, whether or not its first one still runs."""
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


def describe_nodes(address: str) -> list[dict[str, Any]]:
    """The machines of a cluster, with their resources and software.

    Raises:
        ClusterError: If the cluster does not answer, or a machine of it does not.
    """
    from tune.cluster.nodes import describe_software, node_name, on_every_node
    from tune.cluster.ray_session import ray_running

    import ray  # isort: skip

    with ray_running(address):
        software = {answer.node: answer.value for answer in on_every_node(describe_software)}
        return [
            {
                "node": node_name(node),
                "alive": node["Alive"],
                "cpus": node["Resources"].get("CPU", 0),
                "gpus": node["Resources"].get("GPU", 0),
                "memory_gb": round(node["Resources"].get("memory", 0) / 1e9, 1),
                "object_store_gb": round(node["Resources"].get("object_store_memory", 0) / 1e9, 1),
                "software": software.get(node["NodeID"]),
            }
            for node in ray.nodes()
        ]


def own_address() -> str:
    """The address at which other machines may reach this one; loopback if there is no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        # Nothing is sent: the kernel only chooses the address it would send from.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return _LOOPBACK
