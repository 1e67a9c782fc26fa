"""What stands for `python` where tests start programs: has the server fork one that has loaded the libraries.

Tests install it as an executable with PYTHON and SOCKET filled in (`preloaded.server.start`). It passes its arguments,
environment, folder, limits, signals' state and open files on, forwards signals, and ends as the program ends. Killed
by SIGKILL, it takes the program with it. Whatever the server does not reproduce (other options of the interpreter,
other settings that libraries read when they are imported) is left to the interpreter itself.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import resource
import signal
import socket
import sys

PYTHON = "@PYTHON@"
SOCKET = "@SOCKET@"
# Those that a program may be sent and that do not end or stop a process in any case.
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
NAMESPACES = ("mnt", "net", "uts", "ipc", "pid", "user")


def run_interpreter() -> None:
    os.execv(PYTHON, [PYTHON, *sys.argv[1:]])


def program(argv: list[str]) -> dict[str, object] | None:
    """What the interpreter's arguments ask for; None if that is more than the server reproduces.

    `option` is -m, -c, - (standard input) or "" (the path of a script); `argv` are the module, code or path, and the
    program's own arguments.
    """
    unbuffered, filters = False, []
    while argv[:1] in (["-u"], ["-W"]):
        if argv[0] == "-u":
            unbuffered, argv = True, argv[1:]
        else:
            filters, argv = [*filters, *argv[1:2]], argv[2:]
    option = argv[0] if argv and argv[0].startswith("-") else ""
    rest = argv[1:] if option in ("-m", "-c") else argv
    if not rest or option not in ("-m", "-c", "-", "") or "multiprocessing" in rest[0]:
        return None
    return {"unbuffered": unbuffered, "filters": filters, "option": option, "argv": rest}


def open_files() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # the folder's own
            continue
    return sorted(found)


def main() -> None:
    started = program(sys.argv[1:])
    if started is None:
        run_interpreter()
    files = open_files()
    if any(number not in files for number in (0, 1, 2)):
        run_interpreter()
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(SOCKET)
    except OSError:
        run_interpreter()
    ignored = [number for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN]
    pending: list[int] = []
    for number in FORWARDED:
        if number not in ignored:
            signal.signal(number, lambda number, _frame: pending.append(number))
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
    spaces = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in NAMESPACES]
    mask = os.umask(0o22)
    request = {
        "program": started,
        "environment": {os.fsdecode(name): os.fsdecode(value) for name, value in os.environb.items()},
        "folder": os.getcwd(),
        "umask": mask,
        "limits": limits,
        "affinity": sorted(os.sched_getaffinity(0)),
        "ignored": [int(number) for number in ignored],
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "leader": os.getsid(0) == os.getpid(),
        "user": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()],
        "files": files,
    }
    os.umask(mask)
    text = json.dumps(request).encode()
    rights = array.array("i", spaces + files)
    header = len(text).to_bytes(8, "little")
    try:
        connection.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        connection.sendall(text)
        taken = connection.recv(1) == b"Y"
    except OSError:  # the server has ended
        taken = False
    if not taken:
        for number in FORWARDED:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        run_interpreter()

    # The program alone holds its files, so that whoever reads them sees their end when it closes them.
    null = os.open(os.devnull, os.O_RDWR)
    for number in files:
        os.dup2(null, number) if number <= 2 else os.close(number)

    def forward(number: int, _frame: object = None) -> None:
        with contextlib.suppress(OSError):
            connection.send(bytes([number]))

    for number in FORWARDED:
        if number not in ignored:
            signal.signal(number, forward)
    for number in pending:
        forward(number)
    answer = connection.recv(4, socket.MSG_WAITALL)
    status = int.from_bytes(answer, "little", signed=True) if answer else -signal.SIGKILL  # the server was killed
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -status in FORWARDED:
            signal.signal(-status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [-status])
        os.kill(os.getpid(), -status)
    os._exit(status)


main()
