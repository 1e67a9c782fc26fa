"""One machine's part of a Ray cluster: started as a process of its own, known by a file, and stopped without a trace.

``ray stop`` would end every Ray of the user on the machine; what was started here is one session of processes, and only
that is stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
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
from tune.cluster.ray_session import ENVIRONMENT, short_temporary_root, token_file, use_token

PORT = 6379
_LOOPBACK = "127.0.0.1"
_START_S = 60.0
_STOP_S = 8.0
# Places in /proc/PID/stat behind the program's name, as proc(5) counts them.
_STATE, _SESSION, _BEGAN = 0, 3, 19


@dataclass(frozen=True)
class Member:
    """What `cluster up` started on this machine.

    Attributes:
        role: head or worker.
        address: host:port of the cluster's head.
        process: The first of its session of processes.
        began: When that one began, in clock ticks since the machine did, because numbers of processes come again.
        folder: Ray's own, with its logs.
    """

    role: str
    address: str
    process: int
    began: int
    folder: str

    @property
    def alive(self) -> bool:
        """Whether it still runs, if only in part: where the first process was killed, the others are left."""
        first = _read_stat(self.process)
        if first is not None and first[_STATE] != "Z":
            return int(first[_BEGAN]) == self.began
        return bool(_session(self.process))


def state_file() -> Path:
    """Where this user's member on this machine is written down."""
    return Path(tempfile.gettempdir()) / f"spikeloom-cluster-{os.getuid()}.json"


def read_member() -> Member | None:
    """What `cluster up` started on this machine and still runs; None where nothing does."""
    found = _read_state()
    return found if found is not None and found.alive else None


def _read_state() -> Member | None:
    path = state_file()
    try:
        # Others may write where temporary files are, and what this file names is killed and removed.
        if path.lstat().st_uid != os.getuid():
            return None
        return Member(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


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
    """Start a head, or join the cluster of an address, and wait until it is there.

    Args:
        address: host:port of the head to join; None starts a head.
        port: Of a new head.
        node_ip: By which other machines reach this one; None is what the machine's routes say.
        cpus: To offer; None is all.
        gpus: To offer; None is all.

    Raises:
        ClusterError: If a member runs here already, the port is in use, the head does not answer, or Ray ends again.
    """
    there = read_member()
    if there is not None:
        raise ClusterError(
            f"this machine is the {there.role} of {there.address} already. Leave first: spikeloom cluster down"
        )
    forget_dead()
    if address is None:
        ip = node_ip or own_address()
        if listens(ip, port) is None:
            raise ClusterError(f"--port {port}: expected a free port of {ip}, found one in use. Choose another --port.")
        words = ["--head", "--port", str(port), "--include-dashboard=false", "--node-ip-address", ip]
        member_of = f"{ip}:{port}"
        _have_token()
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    else:
        member_of = address
        check_answers(address, "Start its head first: spikeloom cluster up")
        use_token()
        check_compatible(address, token=str(token_file()))
        words = ["--address", address, *(["--node-ip-address", node_ip] if node_ip else [])]
    for name, value in (("--num-cpus", cpus), ("--num-gpus", gpus)):
        words += [] if value is None else [name, str(value)]
    folder = Path(tempfile.mkdtemp(prefix="spikeloom-", dir=short_temporary_root()))
    # A worker would else make one of the head's name, which nobody removes.
    process = _spawn([*words, "--temp-dir", str(folder / "r")], folder)
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


def _have_token() -> None:
    """A token of this user for all clusters of theirs, made when the first head starts."""
    path = token_file()
    if "RAY_AUTH_TOKEN" not in os.environ and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))


def _spawn(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """`ray start --block` in a session of its own, with its output in a file."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *words]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Workers find what the shell finds: a neuron of one's own, or a checkout.
            env=os.environ | ENVIRONMENT,
        )


def _wait(process: subprocess.Popen[bytes], member: Member, folder: Path) -> None:
    """Until Ray says that it runs; ClusterError where it ends or takes a minute."""
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
    return (errors or lines or ["it said nothing"])[-1][:300]


def stop_member(member: Member) -> None:
    """End a member's processes, with force where they do not hear, and remove its files."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + _STOP_S
        while (left := _session(member.process)) and time.monotonic() < end:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            time.sleep(0.2)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(member.process, os.WNOHANG)
    shutil.rmtree(member.folder, ignore_errors=True)
    state_file().unlink(missing_ok=True)


def _session(leader: int) -> list[int]:
    """The living processes of a session, whatever has become of its first one."""
    found = []
    for folder in Path("/proc").iterdir():
        stat = _read_stat(int(folder.name)) if folder.name.isdigit() else None
        # A zombie is dead.
        if stat is not None and stat[_STATE] != "Z" and int(stat[_SESSION]) == leader:
            found.append(int(folder.name))
    return found


def _read_stat(process: int) -> list[str] | None:
    """What the kernel says of a process, from its state on; None where there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def describe_nodes(address: str) -> list[dict[str, Any]]:
    """The machines of a cluster and what they have, by asking it.

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
    """The address by which other machines might reach this one; loopback where it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        # Nothing is sent: the kernel only says which of its addresses it would send from.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return _LOOPBACK
