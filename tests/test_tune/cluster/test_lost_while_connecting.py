"""A Ray that is lost while a command connects to it: the command says how to resume."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tune.cluster.ray_session import _last_words

RESUME = "spikeloom tune --resume runs/a"
THEN = f" Finished trials are kept. Resume with: {RESUME}"
LINE = f"spikeloom: ended while connecting to Ray.{THEN}\n"
EXIT = f"""
import os
from tune.cluster.ray_session import _last_words
with _last_words({THEN!r}):
    os._exit(1)
"""
CONNECT = f"""
import os, signal, sys
import ray._private.worker as worker
from tune.cluster.ray_session import ray_running
connect = worker.connect
def kill_and_connect(*args, **options):
    os.kill(worker._global_node.all_processes[sys.argv[1]][0].process.pid, signal.SIGKILL)
    return connect(*args, **options)
worker.connect = kill_and_connect
with ray_running(resume={RESUME!r}):
    print("connected")
"""


def test_process_that_ends_without_python_has_last_words():
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, LINE)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_others_have_none(error: type[BaseException] | None, capfd: pytest.CaptureFixture[str]):
    try:
        with _last_words(THEN):
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.parametrize("server", ["gcs_server", "raylet"])
def test_ray_whose_server_dies_then_ends_the_command_soon_and_with_the_line_that_resumes(server: str):
    done = subprocess.run(
        # Ray itself would wait for its head for a minute.
        [sys.executable, "-c", CONNECT, server], capture_output=True, text=True, check=False, timeout=50
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.endswith(LINE), done.stderr
