"""The Ray processes of one machine in a cluster: started in a session, recorded, and stopped completely.

``ray stop`` would end every Ray of the user on the machine; here only the session of processes that was started is
stopped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tune.cluster.auth_token import make_token, token_file, use_token
from tune.cluster.head_node import ClusterError, check_answers, check_compatible, listens
from tune.cluster.member_record import Member, forget, forget_dead, read_member, write_member
from tune.cluster.ray_session import ENVIRONMENT, short_temporary_root

PORT = 6379
_LOOPBACK = "127.0.0.1"
_START_S = 180.0
_STOP_S = 8.0


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
    member = Member.of("head" if address is None else "worker", member_of, process.pid, str(folder))
    try:
        write_member(member)
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
        while (left := member.running) and time.monotonic() < end:
            for process in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, number)
            time.sleep(0.2)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(member.process, os.WNOHANG)
    shutil.rmtree(member.folder, ignore_errors=True)
    forget(member)


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
