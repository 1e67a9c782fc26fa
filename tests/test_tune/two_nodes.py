"""Two machines of a Ray cluster on one: real processes, each in a mount namespace with folders of its own."""

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from patience import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[2]


def namespaces_refused() -> str:
    """Why this machine gives no mount namespaces; "" where it does."""
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Machine:
    """A mount namespace in which `own` is a file system that the other machine does not see.

    Attributes:
        name: Of its host, for people.
        own: Folder that each machine has, with other content on each.
        sources: The checkout that its processes run.
    """

    name: str
    own: Path
    sources: Path = REPOSITORY
    keeper: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        mount = (
            f"mount -t tmpfs -o size=400m tmpfs {self.own} && mkdir -p {self.own}/t {self.own}/home && echo ready && "
        )
        self.keeper = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f"{mount} exec sleep 3600"], stdout=subprocess.PIPE, text=True
        )
        assert self.keeper.stdout is not None and self.keeper.stdout.readline().strip() == "ready"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "TMPDIR": f"{self.own}/t",
            "HOME": f"{self.own}/home",
            "PYTHONPATH": f"{self.sources}:{self.sources}/tests",
            "RAY_AUTH_TOKEN": "t" * 64,
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *command: object, **words: object) -> subprocess.Popen[str]:
        inside = ["nsenter", "-t", str(self.keeper.pid), "-m", *map(str, command)]
        return subprocess.Popen(
            inside,
            cwd=self.sources,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **words,  # type: ignore[call-overload]
        )

    def run(self, *command: object) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        process = self.start(*command)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    def spikeloom(self, *words: object) -> tuple[int, str, str]:
        return self.run(sys.executable, "-m", "tune", *words)

    def shell(self, line: str) -> str:
        """What a shell on this machine prints."""
        code, out, err = self.run("sh", "-c", line)
        assert code == 0, err
        return out.strip()

    def processes(self) -> list[int]:
        """Living processes of this machine: those of its mount namespace, but for the keeper."""
        own = os.readlink(f"/proc/{self.keeper.pid}/ns/mnt")
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and os.readlink(folder / "ns" / "mnt") == own:
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                    if int(folder.name) != self.keeper.pid and state != "Z":
                        found.append(int(folder.name))
        return found

    def kill(self, program: str) -> None:
        """A program dies at once."""
        for process in self.processes():
            with contextlib.suppress(OSError):
                if program in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0].decode():
                    os.kill(process, signal.SIGKILL)

    def lose(self) -> None:
        """All its processes die at once, as when its power fails; its files stay."""
        for _ in range(50):
            left = self.processes()
            if not left:
                return
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.1)

    def end(self) -> None:
        self.lose()
        self.keeper.kill()
        self.keeper.wait()


@contextlib.contextmanager
def machines(count: int = 2) -> Iterator[list[Machine]]:
    """So many machines; nothing of them is left."""
    root = Path(tempfile.mkdtemp(prefix="", dir="/tmp"))
    own = root / "o"
    own.mkdir()
    found: list[Machine] = []
    try:
        for k in range(count):
            found.append(Machine(f"machine {k + 1}", own))
        yield found
    finally:
        for machine in found:
            machine.end()
        shutil.rmtree(root)


def wait_for(condition: Callable[[], object], what: str, search: subprocess.Popen[str]) -> None:
    """Wait for what becomes true while a search runs."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        # It may have become true just before the end.
        if search.poll() is not None and not condition():
            raise AssertionError(f"the search ended before {what}:\n{search.communicate()[1]}")
        assert time.monotonic() < end, f"{what} takes too long"
        time.sleep(0.1)


def up(head: Machine, *workers: Machine, port: int | None = None) -> str:
    """A cluster of one CPU each; its address."""
    port = port or free_port()
    code, out, err = head.spikeloom("cluster", "up", "--port", port, "--node-ip", "127.0.0.1", "--cpus", 1)
    assert code == 0, err
    address = out.splitlines()[0].rpartition(" ")[2]
    for worker in workers:
        code, _, err = worker.spikeloom("cluster", "up", "--address", address, "--cpus", 1)
        assert code == 0, err
    return address


def nodes_of(machine: Machine, address: str) -> list[dict[str, object]]:
    code, out, err = machine.spikeloom("cluster", "status", "--address", address, "--json")
    assert code == 0, err
    found: list[dict[str, object]] = json.loads(out)["nodes"]
    return found
