"""A program that is forked from a process with the libraries behaves as one that the interpreter starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import preloaded.server
import pytest
from patience import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parent.parent

# Everything that a program can see of its caller, and what a fork could keep from the process that it was forked from.
PROBE = """
import json, os, resource, signal, sys, tempfile
print(json.dumps({
    "argv": sys.argv, "name": __name__, "main": sorted(set(vars(sys.modules["__main__"])) - {"__annotations__"}),
    "path": sys.path[:3], "folder": os.getcwd(), "environment": sorted(os.environ.items()),
    "umask": os.umask(0), "leader": os.getsid(0) == os.getpid(), "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
    "files": sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)),
    "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "input": sys.stdin.read(),
    "temporary": tempfile.gettempdir(),
    "affinity": sorted(os.sched_getaffinity(0)), "mount": os.stat("/proc/self/ns/mnt").st_ino != HERE,
}))
print("to stderr", file=sys.stderr)
sys.exit(3)
""".replace("HERE", str(os.stat("/proc/self/ns/mnt").st_ino))


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    found, server = preloaded.server.start(tmp_path_factory.mktemp("preloaded") / "server")
    yield found
    assert server.stdin is not None
    server.stdin.close()
    assert server.wait(PATIENCE_S) == 0


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    words = list(map(str, command))
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("kind", ["-c", "-m", "script"])
def test_it_sees_what_the_interpreter_s_program_sees(kind: str, executable: Path, tmp_path: Path):
    (tmp_path / "probe.py").write_text(PROBE)
    words = {"-c": ["-c", PROBE], "-m": ["-m", "probe"], "script": [tmp_path / "probe.py"]}[kind]
    environment = {**os.environ, "A": "é", "PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "TMPDIR": str(tmp_path)}
    prefix = ["sh", "-c", 'trap "" HUP; ulimit -n 200; umask 027; exec "$@"', "sh"]
    results = [
        run(*prefix, program, *words, "x", "", cwd=tmp_path, env=environment, input="text", start_new_session=True)
        for program in (sys.executable, executable)
    ]
    seen = [json.loads(done.stdout) for done in results]
    for name in seen[0]:
        assert seen[1][name] == seen[0][name], name
    assert [(done.returncode, done.stderr) for done in results] == [(3, "to stderr\n")] * 2


def test_it_has_the_libraries_and_the_project_and_a_seed_of_its_own(executable: Path):
    loaded = "print(*(name in sys.modules for name in ('torch', 'tune.trials.worker', 'ray')))"
    code = f"import random, sys, numpy; {loaded}; print(random.random(), numpy.random.rand())"
    first, second = (run(executable, "-c", code, cwd=REPOSITORY).stdout.split() for _ in range(2))
    assert first[:3] == second[:3] == ["True", "True", "False"]
    assert first[3] != second[3] and first[4] != second[4]


@pytest.mark.parametrize(
    "environment",
    [{"OMP_NUM_THREADS": "7"}, {"PYTHONWARNINGS": "error"}, {"NUMBA_DEBUG": "0"}],
    ids=lambda environment: next(iter(environment)),
)
def test_other_settings_of_libraries_are_left_to_the_interpreter(environment: dict[str, str], executable: Path):
    code = "import sys; print('torch' in sys.modules)"
    assert run(executable, "-c", code, env=os.environ | environment, cwd=REPOSITORY).stdout == "False\n"
    assert run(executable, "-I", "-c", code, cwd=REPOSITORY).stdout == "False\n"


@pytest.mark.parametrize("place", ["folder", "PYTHONPATH", "script"])
def test_other_sources_of_the_project_are_left_to_the_interpreter(place: str, executable: Path, tmp_path: Path):
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "__init__.py").write_text("mine = True")
    (tmp_path / "ask.py").write_text("import tune; print(tune.mine)")
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path if place == "folder" else tmp_path / "elsewhere"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"} if place == "PYTHONPATH" else os.environ
    words = [tmp_path / "ask.py"] if place == "script" else ["-c", "import tune; print(tune.mine)"]
    assert run(executable, *words, cwd=folder, env=environment).stdout == "True\n"


def test_a_program_from_standard_input_has_the_filters_of_warnings(executable: Path):
    code = "import sys, warnings; print(sys.argv, sys.warnoptions)\nassert 1 is 1, warnings.warn('no', UserWarning)"
    results = [
        run(program, "-W", "error::SyntaxWarning", "-", "x", input=code) for program in (sys.executable, executable)
    ]
    assert results[0].returncode == results[1].returncode == 1 and "SyntaxError" in results[1].stderr
    code = code.replace("1 is 1", "False")
    results = [
        run(program, "-W", "error::UserWarning", "-", "x", input=code) for program in (sys.executable, executable)
    ]
    assert results[0].returncode == results[1].returncode == 1
    assert results[0].stdout == results[1].stdout == "['-', 'x'] ['error::UserWarning']\n"


def test_an_exception_is_printed_as_by_the_interpreter(executable: Path):
    code = "def f():\n    1 / 0\nf()"
    results = [run(program, "-c", code) for program in (sys.executable, executable)]
    assert results[0].returncode == results[1].returncode == 1
    # From Python 3.13 on, the interpreter also prints the lines of code behind -c.
    lines = [[line for line in result.stderr.splitlines() if not line.startswith("    ")] for result in results]
    assert lines[1] == lines[0] and len(lines[0]) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_and_what_started_it(number: signal.Signals, executable: Path):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([executable, "-c", code], text=True, **pipes) as started:
        assert started.stdout is not None
        pid = int(started.stdout.readline())
        assert pid != started.pid
        started.send_signal(number)
        assert started.wait(PATIENCE_S) == -number
        assert run("sh", "-c", f"while kill -0 {pid} 2>/dev/null; do sleep 0.02; done").returncode == 0


def test_it_runs_in_the_namespaces_of_its_caller(executable: Path, tmp_path: Path):
    if run("unshare", "-m", "true").returncode:
        pytest.skip("this machine gives no mount namespaces")
    line = f'mount -t tmpfs none {tmp_path} && cd {tmp_path} && {executable} -c \'open("a", "w")\' && ls'
    assert run("unshare", "-m", "sh", "-c", line).stdout == "a\n"
    assert not any(tmp_path.iterdir())
