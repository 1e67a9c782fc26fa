"""Ray for the trials: started on this machine or joined, quiet, and removed without a trace afterwards."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from preprocess.files import make_folder
from preprocess.interrupts import Terminated
from tune.cluster.auth_token import make_token, token_file, use_token
from tune.cluster.cluster_address import resolve_address
from tune.cluster.head_node import ClusterError, check_answers, check_compatible, check_member, listens, split_address

# Read by Ray when it is imported or started, here and in its workers.
ENVIRONMENT = {
    # No usage statistics are sent.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Relative paths mean the same in a trial as in this process.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Otherwise Ray copies the complete environment for its workers when it is started by `uv run`.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Ctrl-C runs through our own clean-up.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The ledger is the record; Ray's loggers would write it a second time, and its snapshots grow with every trial.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The progress view shows the trials; the new output prints even with verbose=0.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Trials are the main work of the machine, not background work.
    "RAY_worker_niceness": "0",
    # A trial without a share of a GPU sees none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
_PREFIX = "spikeloom-ray-"
# Errors arrive as exceptions; Ray would also log a traceback for each failed trial.
_LOGGING = logging.CRITICAL
# Trials pass paths, not arrays, so Ray's default of 30 % of the memory would be missing for the trials.
_OBJECT_STORE_BYTES = 128 * 2**20
# Seconds between checks of a cluster's head, and seconds for which it may be silent.
_PING_S = 2.0
_LOST_S = 15.0
# The servers without which a Ray on this machine runs no trials, by Ray's names.
_SERVERS = ("gcs_server", "raylet")
# Unix socket paths have at most 107 bytes; our folder with Ray's session and socket in it needs 89 of them.
_LONGEST_TEMPORARY = 18


@contextlib.contextmanager
def ray_running(address: str | None = None, resume: str = "", session: RaySession | None = None) -> Iterator[None]:
    """Provide Ray while the context is open: the one that this process already uses, a cluster's, or a new one.

    A new one leaves no processes or files behind. If this process is killed before it can clean up, trials and servers
    end with it, two idle agents end within a minute, and the next start removes the files.

    Args:
        address: The head of a running cluster, ``host:port`` or ``auto``; None starts Ray on this machine.
        resume: The command that resumes after the cluster was lost.
        session: Keeps the Ray running after this context, until the session is closed.

    Raises:
        ClusterError: If the cluster does not answer, or Ray does not start.
    """
    os.environ.update(ENVIRONMENT)
    import ray

    if ray.is_initialized():
        yield
        return
    with contextlib.ExitStack() if session is None else session.kept_open() as clean_up:
        if address is None:
            folder = clean_up.enter_context(_temporary_folder())
            clean_up.enter_context(_with_token())
            clean_up.callback(_stop)
            then = _then("Resume with", resume)
            with _watching_servers(None), _last_words(then):
                _start(folder)
            clean_up.enter_context(_watching_servers(then))
        else:
            address = resolve_address(address)
            check_cluster(address)
            clean_up.callback(_stop)
            then = _then("Start its head again, then resume", resume)
            with _watching_head(address, None), _last_words(then):
                _join(address)
            clean_up.enter_context(_watching_head(address, then))
        with _signals_unwrapped():
            yield


class RaySession(contextlib.AbstractContextManager["RaySession"]):
    """One Ray for several steps: the first `ray_running` with it starts Ray, and the end of the session stops it."""

    def __init__(self) -> None:
        self._clean_up = contextlib.ExitStack()

    def kept_open(self) -> contextlib.AbstractContextManager[contextlib.ExitStack]:
        """The session's clean-up, as a context whose end does not run it."""
        return contextlib.nullcontext(self._clean_up)

    def __exit__(self, *details: Any) -> None:
        self._clean_up.__exit__(*details)


@contextlib.contextmanager
def stdout_without_ray() -> Iterator[None]:
    """Keep stdout for results: Ray's own thread prints there when a worker dies, whatever its log settings are."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _signals_unwrapped() -> Iterator[None]:
    """Handle SIGTERM as elsewhere: if it arrives inside Ray's C++, Ray wraps it in a SystemError."""
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, BaseException) and not isinstance(error.__cause__, Exception):
            raise error.__cause__ from None
        raise


def _stop() -> None:
    import ray

    with stdout_without_ray():
        ray.shutdown()


def _start(folder: Path) -> None:
    import ray

    hint = "Run again when the machine is less busy; if that does not help, check the free memory and disk space"
    with _own_sigterm(), _named_errors("Ray did not start on this machine", hint):
        use_token()
        with _unreachable_from_elsewhere():
            ray.init(
                address="local",
                num_cpus=len(os.sched_getaffinity(0)),
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=_LOGGING,
                # Ray opens its folder to every user of the machine; the folder around it is accessible to us alone.
                _temp_dir=str(folder / "r"),
            )


@contextlib.contextmanager
def _unreachable_from_elsewhere() -> Iterator[None]:
    """Let what Ray starts listen on the loopback address alone, as it does on macOS and Windows.

    Ray offers no other way: it replaces 127.0.0.1 by the machine's address, and reads the environment variable
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER when it is imported, which may be before a search on a cluster as well.
    """
    constants: Any = importlib.import_module("ray._private.ray_constants")
    before = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _with_token() -> Iterator[None]:
    """A token for Ray on this machine, which runs what anyone with the token sends, other users of the machine too."""
    in_memory = False
    if os.environ.get("RAY_AUTH_MODE", "token") == "token":
        try:
            make_token()
        except OSError:
            # A home that cannot be written to: only this process and its children need the token.
            os.environ["RAY_AUTH_TOKEN"], in_memory = secrets.token_hex(32), True
    try:
        yield
    finally:
        if in_memory:
            os.environ.pop("RAY_AUTH_TOKEN", None)


def make_folder_for(folder: Path, address: str | None) -> None:
    """Make the folder of a search or comparison; a new one only if the cluster where it is to run answers.

    A folder that is there may be complete, and then needs no cluster.

    Raises:
        ClusterError: If the cluster does not answer, or has other versions of the software or other code.
    """
    if not folder.exists():
        check_cluster(address)
    make_folder(folder)


def check_cluster(address: str | None) -> None:
    """Find within seconds the errors that Ray reports only after a minute, or that end the process.

    Args:
        address: The head of a running cluster, ``host:port`` or ``auto``; None (this machine) is not checked, nor is
            any while this process uses a Ray.

    Raises:
        ClusterError: If the cluster does not answer, or has other versions of the software or other code.
    """
    import ray

    if address is None or ray.is_initialized():
        return
    address = resolve_address(address)
    host, port = split_address(address, ", or auto")
    check_answers(address, f"Start one there: spikeloom cluster up --node-ip {host} --port {port}")
    use_token()
    check_compatible(address, token=str(token_file()))
    check_member(address)


def _join(address: str) -> None:
    import ray

    use_token()
    hint = f"If the cluster asks for a token, copy {token_file()} from its head, or set RAY_AUTH_TOKEN"
    with _own_sigterm(), _named_errors(f"--address {address}", hint):
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=_LOGGING,
            runtime_env={"env_vars": ENVIRONMENT},
        )


@contextlib.contextmanager
def _watching_head(address: str, then: str | None) -> Iterator[None]:
    """End this process with one line if the cluster's head is lost: Ray would wait, then exit with a long traceback.

    Nothing is lost: finished trials are in the ledger, and locks end with the process.
    """
    at = split_address(address)
    silent_since: float | None = None

    def lost() -> str | None:
        nonlocal silent_since
        if listens(*at) is None:
            silent_since = None
            return None
        silent_since = silent_since or time.monotonic()
        return f"the cluster's head {address} is gone" if time.monotonic() - silent_since > _LOST_S else None

    with _watching(lost, then):
        yield


@contextlib.contextmanager
def _watching_servers(then: str | None) -> Iterator[None]:
    """End this process with one line if a server of the Ray that it starts ends, as when memory runs out.

    Otherwise Ray ends the process, after a minute if it was its head, with lines that do not say how to resume.
    """
    worker: Any = importlib.import_module("ray._private.worker")

    def lost() -> str | None:
        # None until the servers run.
        started = worker._global_node.all_processes if worker._global_node is not None else {}
        servers = {name: started[name][0].process for name in _SERVERS if started.get(name)}
        ended = [name for name, process in servers.items() if process.poll() is not None]
        return f"Ray's {ended[0]} on this machine ended" if ended else None

    with _watching(lost, then):
        yield


@contextlib.contextmanager
def _last_words(then: str) -> Iterator[None]:
    """Say how to resume if this process ends within the context without an exception.

    If a server is lost to which Ray's C++ connects, it ends the process while no thread of Python can run, so that
    another process has to say it.
    """
    command = [
        "/bin/sh",
        "-c",
        'read -r _ || printf "%s\\n" "$0" >&2',
        f"spikeloom: ended while connecting to Ray.{then}",
    ]
    try:
        witness = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    except OSError:
        # Without it Ray's own line has to do.
        yield
        return
    try:
        yield
    finally:
        witness.communicate(b"\n")


def _then(how: str, resume: str) -> str:
    return f" Finished trials are kept. {how}: {resume}" if resume else " Finished trials are kept. Run it again."


@contextlib.contextmanager
def _watching(lost: Callable[[], str | None], then: str | None) -> Iterator[None]:
    """Ask `lost` every few seconds, and end this process once it names what is lost, silently if `then` is None."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_PING_S):
            what = lost()
            if what is not None and not done.is_set():
                if then is not None:
                    line = f"spikeloom: {what}.{then}\n"
                    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line.encode())
                os._exit(1)

    thread = threading.Thread(target=watch, name="ray-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()


@contextlib.contextmanager
def _named_errors(what: str, hint: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Ray raises plain ones, too
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise ClusterError(f"{what}: {reason}. {hint}.") from None


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the process's own SIGTERM handler; Ray's would exit with code 15."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as stop:
        # Ray raises this for a SIGTERM during its start.
        if stop.code == signal.SIGTERM:
            raise Terminated from None
        raise
    finally:
        # Only the main thread may set a handler, and only there does Ray.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder with a short path, and a lock that ends with this process, so that later processes can remove it."""
    from filelock import FileLock

    root = short_temporary_root()
    _remove_abandoned(root)
    folder = root / f"{_PREFIX}{secrets.token_hex(4)}"
    lock = folder.with_suffix(".lock")
    # The folder is made under the lock: a folder whose lock is free was abandoned.
    with FileLock(lock):
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def short_temporary_root() -> Path:
    """A folder for temporary files whose path is short enough for Ray's sockets."""
    root = Path(tempfile.gettempdir())
    return root if len(str(root)) <= _LONGEST_TEMPORARY else Path("/tmp")


def _remove_abandoned(root: Path) -> None:
    from filelock import FileLock, Timeout

    # A folder may exist without a lock, if servers of a Ray that did not start kept writing after its removal.
    for folder in {path.with_suffix("") for path in root.glob(f"{_PREFIX}*")}:
        lock = folder.with_suffix(".lock")
        # The lock of a folder in use is held, and another user's cannot be opened: both stay.
        with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
