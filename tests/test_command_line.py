"""Shared by all commands: fast help, errors as one line each, exit codes, light imports."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from patience import PATIENCE_S

from pipeline.runs.run_folder import default_out
from preprocess.default_cache_folder import default_cache
from preprocess.errors import SpikeloomError
from preprocess.interrupts import raise_if_stopped
from preprocess.terminal.command_line import Command, parse, run_main
from tune.cli import COMMANDS, PIPELINE_COMMANDS, PREPROCESS_COMMANDS

NAMES = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM"}
ALL_COMMANDS = PREPROCESS_COMMANDS | PIPELINE_COMMANDS | COMMANDS


def spikeloom(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tune", *argv], capture_output=True, text=True, timeout=PATIENCE_S)


def loaded_modules(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `code`."""
    script = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}}, file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    return set(result.stderr.split())


def test_help_answers_in_under_a_second():
    seconds = []
    # The first start compiles byte code, and on a busy machine other processes only ever add time.
    for _ in range(6):
        start = time.perf_counter()
        result = spikeloom("--help")
        seconds.append(time.perf_counter() - start)
    assert result.returncode == 0
    assert min(seconds) < 1.0, seconds
    assert all(command in result.stdout for command in ALL_COMMANDS)


@pytest.mark.parametrize("code", ["import preprocess, pipeline, tune", "from tune.cli import main; main(['--help'])"])
def test_packages_and_help_load_neither_torch_nor_ray(code: str):
    if "main" in code:
        code = "import sys; sys.argv = ['spikeloom', '--help']; from tune.cli import main; main()"
    assert not {"torch", "ray", "spikingjelly", "tonic"} & loaded_modules(code)


@pytest.mark.parametrize("name", PREPROCESS_COMMANDS)
def test_preprocess_commands_load_neither_torch_nor_ray(name: str):
    code = f"import importlib; importlib.import_module({PREPROCESS_COMMANDS[name].module!r})"
    assert not {"torch", "ray", "spikingjelly", "tonic"} & loaded_modules(code)


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_help_of_every_command_shows_an_example(name: str):
    result = spikeloom(name, "--help")
    assert result.returncode == 0, result.stderr
    assert "xample" in result.stdout
    assert f"spikeloom {name}" in result.stdout
    assert "None" not in result.stdout and "default: False" not in result.stdout


def test_unknown_command_is_one_line_with_the_nearest_name():
    result = spikeloom("tran")
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Did you mean 'train'?" in result.stderr


def test_unknown_option_is_one_line_without_a_box():
    result = spikeloom("inspect", "--no-such-flag", "1")
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("spikeloom: ")
    assert "│" not in result.stderr
    assert "See: spikeloom inspect --help" in result.stderr


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["inspect", "recording.aedat", "--plto"], "--plot"),
        (["preprocess", "n-mnist", "--source", "DIR", "--cach", "DIR"], "--cache"),
        (["evaluate", "RUN_DIR", "--time-steps", "4"], "--timesteps"),
        (["train", "gestures-small", "--neuron.taw", "2"], "--neuron.tau"),
    ],
)
def test_a_misspelt_option_is_one_line_with_the_nearest_one(argv: list[str], meant: str):
    result = spikeloom(*argv)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert f"Did you mean '{meant}'?" in result.stderr


def test_every_error_is_a_line_and_the_exit_code_is_two(monkeypatch, capsys):
    def refuse(argv: list[str]) -> None:
        raise SpikeloomError("first error", "second error")

    monkeypatch.setattr("preprocess.commands.run", refuse, raising=False)
    code = run_main({"x": Command("", "preprocess.commands")}, prog="spikeloom", description="", argv=["x"])
    assert code == 2
    assert capsys.readouterr().err == "spikeloom: first error\nspikeloom: second error\n"


@pytest.mark.parametrize("name", ALL_COMMANDS)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/shared/cache"),
            "/shared/cache: expected a usable file or folder, found: Permission denied. Check the path",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a/file/cache"),
            "/a/file/cache: expected a usable file or folder, found: Not a directory. Check the path",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "found: No space left on device. Free space on the disk,"),
    ],
)
def test_what_the_system_refuses_is_one_line_at_every_command(
    name: str, error: OSError, expected: str, monkeypatch, capsys
):
    module = importlib.import_module(ALL_COMMANDS[name].module)

    def refuse(argv: list[str]) -> None:
        raise error

    monkeypatch.setattr(module, "run", refuse)
    assert run_main(ALL_COMMANDS, prog="spikeloom", description="", argv=[name]) == 2
    err = capsys.readouterr().err
    assert err.startswith("spikeloom: ") and expected in err and err.count("\n") == 1
    assert err.endswith("then run the same command again.\n")


def test_an_error_that_is_not_the_systems_keeps_its_traceback(monkeypatch):
    module = importlib.import_module(ALL_COMMANDS["verify"].module)

    def fail(argv: list[str]) -> None:
        raise OSError("a bug of ours")

    monkeypatch.setattr(module, "run", fail)
    with pytest.raises(OSError, match="a bug of ours"):
        run_main(ALL_COMMANDS, prog="spikeloom", description="", argv=["verify"])


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "LONG"],
        ["inspect", "LONG"],
        ["preprocess", "n-mnist", "--source", "LONG"],
        ["train", "n-mnist-small", "--cache", "LONG", "--out", "OUT"],
        ["evaluate", "LONG"],
        ["runs", "LONG"],
        ["compare", "n-mnist-small", "--neurons", "lif", "clif", "--cache", "LONG", "--out", "OUT"],
        ["tune", "n-mnist-small", "--cache", "LONG", "--out", "OUT"],
        ["status", "LONG"],
        ["report", "LONG"],
    ],
)
def test_a_path_that_the_system_refuses_is_one_line(words: list[str], tmp_path: Path, capsys):
    # The system refuses such a name even to root, as it refuses closed folders to other users.
    long = str(tmp_path / ("x" * 300))
    argv = [{"LONG": long, "OUT": str(tmp_path / "out")}.get(word, word) for word in words]
    assert run_main(ALL_COMMANDS, prog="spikeloom", description="", argv=argv) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "x" * 300 in err and "File name too long" in err


def test_ctrl_c_exits_with_130_and_sigterm_with_143(monkeypatch, capsys):
    def interrupt(argv: list[str]) -> None:
        os.kill(os.getpid(), getattr(signal, argv[0]))
        time.sleep(5)

    monkeypatch.setattr("preprocess.commands.run", interrupt, raising=False)
    commands = {"x": Command("", "preprocess.commands")}
    assert run_main(commands, prog="spikeloom", description="", argv=["x", "SIGINT"]) == 130
    assert run_main(commands, prog="spikeloom", description="", argv=["x", "SIGTERM"]) == 143
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_that_arrives_in_a_finalizer_is_not_lost(monkeypatch, capsys, name: str, code: int):
    def lose_it(argv: list[str]) -> None:
        thing = threading.Event()
        # Python drops what is raised in a finalizer, so that the command continues.
        weakref.finalize(thing, os.kill, os.getpid(), getattr(signal, name))
        del thing
        for _ in range(1000):
            raise_if_stopped()
            steps.append(1)
            time.sleep(0.001)

    steps: list[int] = []
    monkeypatch.setattr("preprocess.commands.run", lose_it, raising=False)
    assert run_main({"x": Command("", "preprocess.commands")}, prog="spikeloom", description="", argv=["x"]) == code
    assert len(steps) == 0
    # No traceback of the dropped exception is printed either.
    assert capsys.readouterr().err.splitlines() == [f"spikeloom: stopped by {NAMES[name]}; nothing is half-written"]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_clean_up_that_fails_after_a_signal_hides_it_not(monkeypatch, capsys, name: str, code: int):
    def fail(words: list[str]) -> None:
        try:
            signal.raise_signal(getattr(signal, name))
        finally:
            raise AttributeError("of a module whose import was cut short")

    monkeypatch.setattr("preprocess.commands.run", fail, raising=False)
    assert run_main({"x": Command("", "preprocess.commands")}, prog="spikeloom", description="", argv=["x"]) == code
    assert capsys.readouterr().err == f"spikeloom: stopped by {NAMES[name]}; nothing is half-written\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_the_interpreter_ends_shows_no_traceback(name: str):
    code = (
        "import atexit, os, signal, sys\n"
        "from preprocess.cli import COMMANDS\n"
        "from preprocess.terminal.command_line import run_main\n"
        f"atexit.register(os.kill, os.getpid(), signal.{name})\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv = ['spikeloom', '--version']\n"
        "sys.exit(run_main(COMMANDS, prog='spikeloom', description=''))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-getattr(signal, name), "")


def test_a_command_leaves_no_signal_behind(monkeypatch):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook
    monkeypatch.setattr("preprocess.commands.run", lambda argv: signal.raise_signal(signal.SIGINT), raising=False)
    assert run_main({"x": Command("", "preprocess.commands")}, prog="spikeloom", description="", argv=["x"]) == 130
    raise_if_stopped()
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook)


def test_where_ctrl_c_is_ignored_it_stays_ignored(monkeypatch):
    monkeypatch.setattr("preprocess.commands.run", lambda argv: signal.raise_signal(signal.SIGINT), raising=False)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_main({"x": Command("", "preprocess.commands")}, prog="spikeloom", description="", argv=["x"]) == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_parse_names_what_is_missing_and_the_help():
    def command(*, timesteps: int) -> None:
        """A command."""

    with pytest.raises(SpikeloomError, match=r"--timesteps.*See: spikeloom command --help"):
        parse(command, [], prog="spikeloom command")
    with pytest.raises(SpikeloomError, match=r"--timesteps.*'x'.*See: spikeloom command --help"):
        parse(command, ["--timesteps", "x"], prog="spikeloom command")


def test_cache_folder_is_the_option_then_the_environment_then_here(monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKELOOM_CACHE", raising=False)
    assert default_cache(None) == tmp_path / "cache"
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "elsewhere"))
    assert default_cache(None) == tmp_path / "elsewhere"
    assert default_cache(Path("mine")) == tmp_path / "mine"


def test_output_folders_are_numbered(monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert default_out(None, "train", "n-mnist-small") == tmp_path / "runs" / "train-n-mnist-small-1"
    (tmp_path / "runs" / "train-n-mnist-small-1").mkdir(parents=True)
    assert default_out(None, "train", "n-mnist-small") == tmp_path / "runs" / "train-n-mnist-small-2"
