"""Which Ray trials run on, and what is left of it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from preprocess.interrupts import Terminated, stopped_by_signals
from tune.cluster.auth_token import make_token
from tune.cluster.ray_session import ClusterError, _own_sigterm, ray_running
from tune.trials.run_trials import _Watcher

pytestmark = pytest.mark.ray


def test_cluster_that_does_not_answer_is_one_line_within_seconds(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    told = rf"--address 127\.0\.0\.1:{port}: expected a cluster that answers, .* spikeloom cluster up --node-ip 127"
    with pytest.raises(ClusterError, match=told), ray_running(f"127.0.0.1:{port}"):
        pass
    assert time.monotonic() - start < 15
    told = "expected host:port of a cluster's head, or auto, found 'somewhere'"
    with pytest.raises(ClusterError, match=told), ray_running("somewhere"):
        pass


def test_ray_that_is_there_is_used_and_kept(shared_ray: None):
    import ray

    before = ray.get_runtime_context().get_node_id()
    with ray_running():
        assert ray.get_runtime_context().get_node_id() == before
    assert ray.is_initialized()


def test_ray_sends_nothing_anywhere_and_shows_no_dashboard(shared_ray: None):
    from ray._common.usage.usage_lib import usage_stats_enabled
    from ray._private.worker import global_worker

    assert not usage_stats_enabled()
    assert not global_worker.node.address_info["webui_url"]


def test_ray_on_this_machine_listens_on_the_loopback_address_alone(shared_ray: None):
    import ray
    import psutil  # Ray brings it  # isort: skip

    class Worker:
        def pid(self) -> int:
            return os.getpid()

    # A worker listens too.
    worker = ray.remote(num_cpus=0)(Worker).remote()
    worker_pid = ray.get(worker.pid.remote())
    names = {os.getpid(): "driver", worker_pid: "worker"}
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            names.setdefault(child.pid, child.name())
    found = {
        (names[one.pid], ipaddress.ip_address(one.laddr.ip))
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.pid in names
    }
    assert {"raylet", "gcs_server", "worker", "driver"} <= {name for name, _ in found}
    reachable = {name for name, ip in found if not (getattr(ip, "ipv4_mapped", None) or ip).is_loopback}
    assert reachable == set()


def test_answer_to_sigterm_stays_ours(shared_ray: None):
    """Ray's own handler leaves with exit code 15."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_sigterm_that_ray_answers_while_it_starts_ends_the_command_as_ours_does():
    with pytest.raises(Terminated), _own_sigterm():
        sys.exit(signal.SIGTERM)  # as Ray's handler does
    with pytest.raises(SystemExit), _own_sigterm():
        sys.exit(1)


def test_a_search_hears_ctrl_c_that_was_dropped_in_a_finalizer():
    updates: list[None] = []
    status: Any = SimpleNamespace(update=lambda: updates.append(None))
    nothing: Any = None
    watcher = _Watcher(nothing, nothing, nothing, status, lambda: None, lambda: None)
    with stopped_by_signals():
        watcher.on_step_end(0, [])
        thing = threading.Event()
        weakref.finalize(thing, signal.raise_signal, signal.SIGINT)
        del thing
        with pytest.raises(KeyboardInterrupt):
            watcher.on_step_end(1, [])
    assert len(updates) == 1


def test_trials_have_the_working_folder_of_the_command_that_starts_them(shared_ray: None):
    """So that a neuron's relative file is found."""
    import ray

    @ray.remote
    def folder() -> str:
        return os.getcwd()

    assert ray.get(folder.remote()) == os.getcwd()


@pytest.fixture
def no_ray(monkeypatch, tmp_path: Path) -> Iterator[Path]:
    """Pretends that no Ray runs and that none can start; yields the folder for temporary files."""
    import ray

    def refuse(**_: object) -> None:
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "ray" / "auth_token"))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        # Set first, so that it is as before afterwards.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    # Ray's sockets need a short path, which pytest's folders have not.
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_ray_that_does_not_start_is_one_line_and_leaves_no_file(no_ray: Path):
    told = r"Ray did not start on this machine: The current node timed out during startup\. Run again when"
    with pytest.raises(ClusterError, match=told), ray_running():
        pass
    assert not list(no_ray.iterdir())


def test_ray_on_this_machine_asks_for_a_token_that_only_this_user_can_read(no_ray: Path, tmp_path: Path):
    token = tmp_path / "ray" / "auth_token"
    before = os.umask(0o022)
    try:
        with contextlib.suppress(ClusterError), ray_running():
            pass
    finally:
        os.umask(before)
    assert token.stat().st_mode & 0o777 == 0o600 and len(token.read_text()) == 64
    assert os.environ["RAY_AUTH_MODE"] == "token"
    kept = token.read_text()
    with contextlib.suppress(ClusterError), ray_running():
        pass
    assert token.read_text() == kept


def test_ray_on_this_machine_needs_no_home_to_write_to(no_ray: Path, monkeypatch: pytest.MonkeyPatch):
    import ray

    def note(**_: object) -> None:
        tokens.append(os.environ.get("RAY_AUTH_TOKEN", ""))

    tokens: list[str] = []
    monkeypatch.setattr(ray, "init", note)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/dev/null/ray/auth_token")
    with ray_running():
        assert os.environ["RAY_AUTH_MODE"] == "token"
    assert [len(token) for token in tokens] == [64]
    # A cluster that is joined later has a token of its own.
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_token_that_could_not_be_written_whole_is_made_again(no_ray: Path, monkeypatch: pytest.MonkeyPatch):
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    with monkeypatch.context() as full:
        full.setattr(secrets, "token_hex", refuse_to_write)
        with pytest.raises(OSError, match="disk"):
            make_token()
    assert not token.exists()
    token.touch()
    make_token()
    assert len(token.read_text()) == 64


def refuse_to_write(_: int) -> str:
    raise OSError("the disk is full")


def test_next_start_removes_what_killed_ones_left_but_nothing_in_use(no_ray: Path):
    for name in ("killed", "late", "alive"):
        (no_ray / f"spikeloom-ray-{name}").mkdir()
    (no_ray / "spikeloom-ray-killed.lock").touch()
    with FileLock(no_ray / "spikeloom-ray-alive.lock"):
        with contextlib.suppress(ClusterError), ray_running():
            pass
        assert {path.name for path in no_ray.iterdir()} == {"spikeloom-ray-alive", "spikeloom-ray-alive.lock"}
