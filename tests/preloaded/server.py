"""Forks programs from a process that has loaded the libraries, so that tests do not load them for each program.

Loading PyTorch, pandas and the project takes three to four seconds of processor time, in every trial and every
command that a test starts; a fork of a process that has them takes a few hundredths. A forked program is a process of
its own, with the arguments, environment, folder, limits, open files and namespaces of its caller. `start` gives the
path of an executable (client.py) for the place of the interpreter.

Left to the interpreter are programs that would read another setting when they load a library, and those whose caller
names other sources of the project than these.

    python server.py SOCKET FILE     serves until its standard input is closed; FILE is the number of the open socket
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import importlib.util
import io
import json
import os
import random
import resource
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
import warnings
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1]
PACKAGES = ("preprocess", "pipeline", "tune")
# Not Ray: its library reads what the raylet sets for each worker when it is loaded, and never again.
LIBRARIES = (
    *("torch", "numba", "h5py", "pandas", "pyarrow", "scipy.special", "matplotlib", "yaml", "requests", "msgpack"),
    *("jsonschema", "google.protobuf.json_format", "tensorboardX", "fsspec", "filelock", "click", "tyro", "jinja2"),
    *("rich", "pydantic", "tqdm", "spikingjelly.activation_based.neuron"),
    # Of benchmarks, examples and tests of compiled networks: seconds each.
    *("torch._dynamo", "torch._inductor.standalone_compile", "torchvision", "scipy.stats", "tonic"),
    *("spikingjelly.datasets", "spikingjelly.activation_based.functional", "spikingjelly._ops.clif"),
)
# Each brings along what it imports: together nearly all that commands, trials, figures and pages load of the project.
OWN_MODULES = (
    *("preprocess.cli", "preprocess.commands.preprocess", "preprocess.commands.emulate"),
    *("preprocess.emulator.gestures", "preprocess.building.build_event_store", "pipeline.cli"),
    *("pipeline.commands.train", "pipeline.training.train_run", "pipeline.evaluation.evaluate_run"),
    *("tune.cli", "tune.commands.tune", "tune.commands.compare"),
    *("tune.commands.report", "tune.comparison.run_comparison", "tune.search.run_search", "tune.search.final_runs"),
    *("tune.search.search_figures", "tune.search.start_notes", "tune.trials.worker", "tune.trials.custom_code"),
    *("tune.cluster.node_process",),
)
NAMESPACES = ("mnt", "net", "uts", "ipc", "pid", "user")
# Libraries read these when they are imported; a program for which they differ is left to the interpreter.
READ_AT_IMPORT = (
    *("CUDA_", "HDF5_", "KMP_", "LANG", "LC_", "LD_", "MALLOC_", "MKL_", "MPL", "NUMBA_", "OMP_", "OPENBLAS"),
    *("PYTHON", "PYTORCH", "TORCH", "TRITON"),
)
READ_LATER = ("PYTHONPATH", "PYTHONUNBUFFERED", "TORCHELASTIC_", "TORCH_NCCL_")
# Where an interpreter finds each package without being told; filled when they are loaded.
installed: dict[str, Path | None] = {}


class Request(NamedTuple):
    """One program to be run: what the client sent, and its open files in their order."""

    fields: dict[str, Any]
    namespaces: list[int]
    files: list[int]


def start(folder: Path) -> tuple[Path, subprocess.Popen[bytes]]:
    """Starts a server whose files are in `folder`; the executable, and the server (close its stdin to end it)."""
    path = folder / "server"
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    text = (HERE / "client.py").read_text().replace("@PYTHON@", sys.executable).replace("@SOCKET@", str(path))
    executable = bin_folder / "python"
    executable.write_text(f"#!{sys.executable} -IS\n{text}")
    executable.chmod(0o755)
    command = bin_folder / "spikeloom"
    command.write_text(f'#!/bin/sh\nexec {executable} {Path(sys.executable).parent / "spikeloom"} "$@"\n')
    command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Programs that ask before the libraries are loaded wait for them: the socket is there before the server is.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(512)
        process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), str(path), str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            cwd=HERE.parents[1],
            env=environment,
            start_new_session=True,
        )
    return executable, process


def load_libraries() -> None:
    """Imports LIBRARIES and the project's modules.

    Raises AssertionError if one of them starts a thread, which a fork would not have.
    """
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # a fork copies no other thread
    for name in LIBRARIES:
        # The lowest versions that pyproject.toml allows lack modules of newer ones.
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    del os.environ["JE_ARROW_MALLOC_CONF"]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        installed[package] = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
    sys.path.insert(0, str(SOURCES))
    for name in OWN_MODULES:
        importlib.import_module(name)
    sys.path.remove(str(SOURCES))
    registry = importlib.import_module("numba").core.registry
    registry.cpu_target.target_context.refresh()
    registry.cpu_target.typing_context.refresh()
    assert "ray" not in sys.modules
    gc.collect()
    gc.freeze()
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"expected one thread, found {threads}: a library started some when it was imported"


def namespace_numbers(files: list[int] | None = None) -> dict[str, int]:
    """Inode of each namespace: of this process, or of open files of /proc/PID/ns."""
    where: list[Any] = [f"/proc/self/ns/{name}" for name in NAMESPACES] if files is None else files
    return {name: os.stat(place).st_ino for name, place in zip(NAMESPACES, where, strict=True)}


def settings_of(environment: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_IMPORT) and not name.startswith(READ_LATER)
    }


def searched_first(request: Request) -> list[str]:
    """The folders that the program's imports search before the interpreter's own."""
    fields = request.fields
    option, argv = fields["program"]["option"], fields["program"]["argv"]
    extra = [entry for entry in fields["environment"].get("PYTHONPATH", "").split(os.pathsep) if entry]
    script = os.path.dirname(os.path.realpath(os.path.join(fields["folder"], argv[0])))
    return [{"-c": "", "-": "", "-m": fields["folder"]}.get(option, script), *extra]


def imports_these_sources(request: Request) -> bool:
    """Whether the program's imports find the project's packages where this process found them."""
    folders = [Path(request.fields["folder"], entry) for entry in searched_first(request)]
    for package in PACKAGES:
        there = next((folder for folder in folders if (folder / package).is_dir()), installed[package])
        if there is None or there.resolve() != SOURCES:
            return False
    return True


def can_run(request: Request, environment: dict[str, str]) -> bool:
    """Whether a fork of this process behaves as a new interpreter for the request."""
    here, there = namespace_numbers(), namespace_numbers(request.namespaces)
    return (
        imports_these_sources(request)
        and settings_of(request.fields["environment"]) == settings_of(environment)
        and request.fields["user"] == [os.getuid(), os.geteuid(), os.getgid(), os.getegid()]
        and all(here[name] == there[name] for name in ("pid", "user"))
    )


def receive(connection: socket.socket) -> Request | None:
    header, files, _flags, _address = socket.recv_fds(connection, 8, 253)
    if len(header) < 8:
        return None
    size, text = int.from_bytes(header, "little"), b""
    while len(text) < size:
        more = connection.recv(size - len(text))
        if not more:
            return None
        text += more
    spaces = len(NAMESPACES)
    return Request(json.loads(text), list(files[:spaces]), list(files[spaces:]))


def serve(listener: socket.socket, environment: dict[str, str]) -> Request | None:
    """Answers until standard input is closed (None). In a forked child: the request that it has to run."""
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ, ("new", 0))
    waiting.register(0, selectors.EVENT_READ, ("end", 0))
    connections: dict[int, socket.socket] = {}
    ends: dict[int, int] = {}
    while True:
        for key, _mask in waiting.select():
            kind, pid = key.data
            if kind == "end":
                for pid in connections:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return None
            if kind == "new":
                connection = listener.accept()[0]
                request = receive(connection)
                if request is None or not can_run(request, environment):
                    if request is not None:
                        connection.send(b"N")
                        for number in request.namespaces + request.files:
                            os.close(number)
                    connection.close()
                    continue
                pid = os.fork()
                if pid == 0:
                    return request
                for number in request.namespaces + request.files:
                    os.close(number)
                connection.send(b"Y")
                connections[pid], ends[pid] = connection, os.pidfd_open(pid)
                waiting.register(connection, selectors.EVENT_READ, ("signal", pid))
                waiting.register(ends[pid], selectors.EVENT_READ, ("ended", pid))
            elif kind == "signal" and pid in connections:
                try:
                    numbers = connections[pid].recv(64) or bytes([signal.SIGKILL])
                except ConnectionError:
                    numbers = bytes([signal.SIGKILL])
                for number in numbers:
                    os.kill(pid, number)
                if numbers[-1] == signal.SIGKILL:
                    waiting.unregister(connections[pid])
            elif kind == "ended" and pid in connections:
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                connection = connections.pop(pid)
                if connection in {other.fileobj for other in waiting.get_map().values()}:
                    waiting.unregister(connection)
                waiting.unregister(ends[pid])
                os.close(ends.pop(pid))
                with contextlib.suppress(OSError):
                    connection.send(status.to_bytes(4, "little", signed=True))
                connection.close()


def take_over(request: Request) -> None:
    """Gives this process the files, folder, environment, limits and signals of the program's caller."""
    fields = request.fields
    keep: list[int] = fields["files"]
    above = max(keep) + 1
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, above) for number in request.files]
    spaces = [fcntl.fcntl(number, fcntl.F_DUPFD, above) for number in request.namespaces]
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:
        if number not in high and number not in spaces:
            try:
                os.close(number)
            except OSError:  # the folder's own
                continue
    for number, source in zip(keep, high, strict=True):
        os.dup2(source, number)
        os.close(source)
    here = namespace_numbers()
    there = namespace_numbers(spaces)
    for name, number in zip(NAMESPACES, spaces, strict=True):
        if here[name] != there[name] and ctypes.CDLL(None, use_errno=True).setns(number, 0):
            raise OSError(ctypes.get_errno(), f"setns {name}")
        os.close(number)
    # Whoever signals a program's group must not meet this server.
    os.setsid() if fields["leader"] else os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(fields["environment"])
    os.umask(fields["umask"])
    os.chdir(fields["folder"])
    os.sched_setaffinity(0, fields["affinity"])
    for name, limit in fields["limits"].items():
        resource.setrlimit(getattr(resource, name), tuple(limit))
    for number in fields["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    if signal.SIGINT not in fields["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, fields["blocked"])


def renew_interpreter(unbuffered: bool) -> None:
    """What a new interpreter has that a fork has not: streams, seeds and a __main__ of its own."""
    unbuffered = unbuffered or bool(os.environ.get("PYTHONUNBUFFERED"))
    source = open(0, "rb", closefd=False)  # noqa: SIM115
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(source, encoding="utf-8")  # type: ignore[misc]
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw = open(number, "wb", buffering=0 if unbuffered else -1, closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(
            raw,
            encoding="utf-8",
            errors="backslashreplace" if number == 2 else "strict",
            line_buffering=number == 2 or os.isatty(number),
            write_through=unbuffered,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    # A library asked for the temporary folder when it was loaded, and tempfile keeps the answer.
    tempfile.tempdir = None
    import numpy as np

    random.seed()
    np.random.seed()  # noqa: NPY002 - the global generator, as a new process seeds it
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main


def run(request: Request, executable: str) -> None:
    """Runs the program of a request as the interpreter does."""
    program = request.fields["program"]
    option, argv = program["option"], program["argv"]
    renew_interpreter(program["unbuffered"])
    sys.executable = executable
    sys.argv = ["-c", *argv[1:]] if option == "-c" else argv
    sys.orig_argv = [executable, *([option] if option in ("-m", "-c") else []), *argv]
    sys.warnoptions.extend(program["filters"])
    warnings._processoptions(program["filters"])  # type: ignore[attr-defined]
    sys.path[:0] = searched_first(request)
    importlib.invalidate_caches()
    main = sys.modules["__main__"]
    if option == "-m":
        runpy._run_module_as_main(argv[0])  # type: ignore[attr-defined]
    elif option == "-c":
        exec(compile(argv[0], "<string>", "exec"), main.__dict__)
    elif option == "-":
        exec(compile(sys.stdin.read(), "<stdin>", "exec"), main.__dict__)
    else:
        main.__dict__.update(__file__=argv[0], __cached__=None)
        exec(compile(Path(argv[0]).read_bytes(), argv[0], "exec"), main.__dict__)


def exit_code(request: Request, executable: str) -> int:
    """Runs the program; its exit code. An exception is printed as by the interpreter, without this file's frames."""
    try:
        run(request, executable)
    except SystemExit as done:
        if done.code is None or isinstance(done.code, int):
            return done.code or 0
        print(done.code, file=sys.stderr)
        return 1
    except BaseException as error:
        trace = error.__traceback__
        while trace and trace.tb_next and trace.tb_frame.f_code.co_filename in (__file__, "<frozen runpy>"):
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def end(code: int) -> None:
    """Ends this process as the interpreter does, but without taking every object apart, which takes a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


def main() -> None:
    path = sys.argv[1]
    environment = dict(os.environ)
    listener = socket.socket(fileno=int(sys.argv[2]))
    load_libraries()
    del sys.path[0]  # this file's folder
    request = serve(listener, environment)
    if request is not None:
        listener.detach()
        take_over(request)
        end(exit_code(request, str(Path(path).with_name("bin") / "python")))


if __name__ == "__main__":
    main()
