"""What is left of a cluster's member on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tune.cluster import member_record, node_process
from tune.cluster.head_node import ClusterError
from tune.cluster.member_record import Member, write_member
from tune.cluster.node_process import start_member


class SpawnedError(Exception):
    """Raised in place of starting Ray."""


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port, and a machine of which no member is recorded and on which none is started."""

    def spawn(argv: list[str], folder: Path) -> subprocess.Popen[bytes]:
        folder.rmdir()
        raise SpawnedError

    monkeypatch.setattr(member_record, "state_file", lambda: tmp_path / "member.json")
    monkeypatch.setattr(node_process, "make_token", lambda: None)
    monkeypatch.setattr(node_process, "_spawn", spawn)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.new_interpreter
@pytest.mark.parametrize("of_ray", [True, False], ids=["its own", "another's"])
def test_what_a_killed_head_left_makes_room_for_another_and_nobody_else_s(tmp_path: Path, port: int, of_ray: bool):
    """The first process of a head has ended, and one that it started, or one of another session, still runs."""
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin.read()"
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    log = tmp_path / ("ray" if of_ray else "other") / "log"
    log.parent.mkdir()
    with (
        log.open("w") as file,
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=file, **options) as first,
    ):
        assert first.stdout is not None and first.stdin is not None
        left = int(first.stdout.readline())
        member = Member.of("head", "127.0.0.1:6390", first.pid, str(tmp_path / "ray"))
        write_member(member)
        with pytest.raises(ClusterError, match="Leave it first: spikeloom cluster down"):
            start_member(None, port=port, node_ip="127.0.0.1")
        first.kill()
    assert member.alive and member.is_left_over == of_ray
    with pytest.raises(SpawnedError if of_ray else ClusterError):
        start_member(None, port=port, node_ip="127.0.0.1")
    assert member.alive != of_ray and Path(f"/proc/{left}/cwd").exists() != of_ray
    assert member_record.state_file().exists() != of_ray
    if not of_ray:
        os.kill(left, signal.SIGKILL)
