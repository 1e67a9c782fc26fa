"""Ray for our trials: started on this machine or joined, quiet, and gone without a trace afterwards."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from preprocess.interrupts import Terminated
from tune.cluster.head_node import ClusterError, check_answers, check_compatible, check_member, listens, split_address

# Read by Ray when it is imported or started, here and in its workers.
ENVIRONMENT = {
    # Nothing is sent anywhere.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Paths mean in a trial what they mean here.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Else Ray packs the whole environment for its workers when it is started by `uv run`.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Ctrl-C unwinds through our own clean-up.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Our ledger is the record; Ray's loggers would write it all once more, its snapshots grow with every trial.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Our view shows the trials; the new output prints even when told to be silent.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Trials are what the machine is asked to do, not background work.
    "RAY_worker_niceness": "0",
    # A trial without a share of a GPU sees none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
_PREFIX = "spikeloom-ray-"
# Faults come as exceptions; what Ray logs of them is a traceback for each trial that fails.
_LOGGING = logging.CRITICAL
# Trials pass paths, not arrays, so Ray's default of 30 % of the memory would only be taken from the trials.
_OBJECT_STORE_BYTES = 128 * 2**20
# How often the head of a cluster is looked for, and how long it may be silent.
_PING_S = 2.0
_LOST_S = 15.0
# Unix socket paths hold 107 bytes; our folder and Ray's session and socket in it take 89 of them.
_LONGEST_TEMPORARY = 18


@contextlib.contextmanager
def ray_running(address: str | None = None, resume: str = "") -> Iterator[None]:
    """Have Ray while the context is open: a Ray that this process already has, a cluster's, or one of our own.

    Of our own nothing is left afterwards, neither processes nor files. Where this process is killed before it can tidy
    up, trials and servers die with it, two idle agents within a minute, and the next start removes the files.

    Args:
        address: Of a running cluster's head, ``host:port`` or ``auto``; None starts Ray on this machine.
        resume: The command that goes on where the cluster was lost.

    Raises:
        ClusterError: If the cluster does not answer, or Ray does not start.
    """
    os.environ.update(ENVIRONMENT)
    import ray

    if ray.is_initialized():
        yield
        return
    with contextlib.nullcontext(_kept[-1]) if _kept else contextlib.ExitStack() as clean_up:
        if address is None:
            folder = clean_up.enter_context(_temporary_folder())
            clean_up.callback(_stop)
            _start(folder)
        else:
            _check(address)
            clean_up.callback(_stop)
            _join(address)
            clean_up.enter_context(_watching_head(resume))
        with _signals_unwrapped():
            yield


_kept: list[contextlib.ExitStack] = []


@contextlib.contextmanager
def one_ray() -> Iterator[None]:
    """Have the Ray that `ray_running` starts first serve all that follows, until this ends; this starts none."""
    with contextlib.ExitStack() as clean_up:
        _kept.append(clean_up)
        try:
            yield
        finally:
            _kept.remove(clean_up)


@contextlib.contextmanager
def stdout_without_ray() -> Iterator[None]:
    """Keep stdout for results: Ray's own thread prints there when a worker dies, whatever it is told about logs."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _signals_unwrapped() -> Iterator[None]:
    """Let SIGTERM unwind as it does elsewhere: where it arrives inside Ray's C++, Ray wraps it in a SystemError."""
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

    hint = "Run again when the machine is less busy; if that does not help, check free memory and disk"
    with _own_sigterm(), _named_errors("Ray did not start on this machine", hint):
        ray.init(
            address="local",
            num_cpus=len(os.sched_getaffinity(0)),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=_LOGGING,
            # Ray opens its folder to every user of the machine; the one around it is ours alone.
            _temp_dir=str(folder / "r"),
        )


def token_file() -> Path:
    """Where Ray keeps this user's token, without which a cluster obeys nobody."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()


def use_token() -> bool:
    """Have this process and its children show the token, where there is one and the user has set no mode; whether so.

    Ray itself shows a token only to a cluster that it starts; to one whose address the user has typed it may be shown.
    """
    if "RAY_AUTH_MODE" not in os.environ and ("RAY_AUTH_TOKEN" in os.environ or token_file().exists()):
        os.environ["RAY_AUTH_MODE"] = "token"
        # Ray has read its environment when it was imported.
        importlib.import_module("ray._raylet").Config.initialize("")
    return os.environ.get("RAY_AUTH_MODE") == "token"


def _check(address: str) -> None:
    """Find out in seconds what Ray takes a minute for, or dies of."""
    if address == "auto":
        return
    _, port = split_address(address, ", or auto")
    check_answers(address, f"Start one: spikeloom cluster up --port {port}")
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
def _watching_head(resume: str) -> Iterator[None]:
    """End this process with one line where the cluster's head is gone: Ray would wait for it, then die in many words.

    Nothing is lost by that: finished trials are in the ledger, locks die with the process.
    """
    import ray

    host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
    done = threading.Event()

    def watch() -> None:
        silent_since: float | None = None
        while not done.wait(_PING_S):
            if listens(host, int(port)) is None:
                silent_since = None
                continue
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > _LOST_S and not done.is_set():
                go_on = f" Start it again, then: {resume}" if resume else ""
                line = f"spikeloom: the cluster's head {host}:{port} is gone. Finished trials are kept.{go_on}\n"
                os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, line.encode())
                os._exit(1)

    thread = threading.Thread(target=watch, name="head-watch", daemon=True)
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
    """Keep the process's answer to SIGTERM, which Ray would replace by leaving with exit code 15."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as stop:
        # Ray's answer to one that came while it started.
        if stop.code == signal.SIGTERM:
            raise Terminated from None
        raise
    finally:
        # Only the main thread may set it, and only there does Ray.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A short folder whose lock dies with its process, by which later processes know that it may be removed."""
    from filelock import FileLock

    root = short_temporary_root()
    _remove_abandoned(root)
    folder = root / f"{_PREFIX}{secrets.token_hex(4)}"
    lock = folder.with_suffix(".lock")
    # The folder is made under the lock: one without a holder was abandoned.
    with FileLock(lock):
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def short_temporary_root() -> Path:
    """A folder for temporary files with a path that leaves room for Ray's sockets."""
    root = Path(tempfile.gettempdir())
    return root if len(str(root)) <= _LONGEST_TEMPORARY else Path("/tmp")


def _remove_abandoned(root: Path) -> None:
    from filelock import FileLock, Timeout

    # A folder may be there without a lock, where servers of a Ray that did not start wrote on after its removal.
    for folder in {path.with_suffix("") for path in root.glob(f"{_PREFIX}*")}:
        lock = folder.with_suffix(".lock")
        # One in use is held, and another user's cannot be opened: both stay.
        with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
