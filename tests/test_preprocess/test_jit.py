"""Kernels are compiled once for the same sources: later processes load them from whichever folder is writable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import preprocess

# Says where a kernel is kept, and whether it was taken from there.
PROGRAM = """
import numpy as np, preprocess
from preprocess.store.fletcher32 import fletcher32
fletcher32(np.zeros(10, np.uint8))
print(preprocess.__file__, fletcher32.stats.cache_path, sum(fletcher32.stats.cache_hits.values()))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The folder of a copy of the package that nobody may write to."""
    copied = tmp_path / "site"
    package = Path(preprocess.__file__).parent
    shutil.copytree(package, copied / "preprocess", ignore=shutil.ignore_patterns("__pycache__"))
    for path in sorted(copied.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return copied


def run(copy: Path, home: Path, temporary: Path) -> tuple[Path, int]:
    """Compile in a process without rights beyond those of the files: the kernel's folder, and how many were there."""
    words = [sys.executable, "-c", PROGRAM]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root writes to read-only folders, and there is no setpriv to keep it from that")
        words = ["setpriv", "--bounding-set=-dac_override", *words]
    environment = {name: os.environ[name] for name in os.environ if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment |= {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(copy)}
    done = subprocess.run(words, env=environment, cwd=temporary, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    package, kept, hits = done.stdout.split()
    assert Path(package).is_relative_to(copy)
    return Path(kept), int(hits)


@pytest.mark.slow
@pytest.mark.parametrize("home_writable", [True, False])
def test_a_read_only_package_keeps_its_kernels_elsewhere(tmp_path: Path, copy: Path, home_writable: bool):
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir(mode=0o755 if home_writable else 0o555)
    temporary.mkdir()
    kept, hits = run(copy, home, temporary)
    assert hits == 0
    assert kept.is_relative_to(home if home_writable else temporary / f"spikeloom-kernels-{os.getuid()}")
    assert run(copy, home, temporary) == (kept, 1)


def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path: Path, copy: Path):
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir(mode=0o555)
    shared = temporary / f"spikeloom-kernels-{os.getuid()}"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    kept, _ = run(copy, home, temporary)
    assert kept.is_relative_to(temporary) and not kept.is_relative_to(shared)


KERNEL = """
from preprocess.helper import add
from preprocess.jit import compile_kernel

@compile_kernel
def total(x):
    return add(x, 1)
"""
HELPER = """
from numba import njit
from preprocess.step import STEP

@njit
def add(x, times):
    return x + times * STEP
"""


@pytest.mark.slow
def test_a_changed_helper_changes_what_the_kernel_computes(tmp_path: Path):
    copied = tmp_path / "preprocess"
    copied.mkdir()
    for name in ("__init__.py", "jit.py", "lazy_exports.py"):
        shutil.copy(Path(preprocess.__file__).parent / name, copied)
    (copied / "kernel.py").write_text(KERNEL)
    (copied / "helper.py").write_text(HELPER)

    def run(step: int) -> tuple[int, int]:
        """What the kernel computes, and how many of its compilations were loaded."""
        (copied / "step.py").write_text(f"STEP = {step}\n")
        program = "from preprocess.kernel import total; print(total(1), sum(total.stats.cache_hits.values()))"
        # No compiled sources: step.py changes within a second and keeps its size, which Python takes for unchanged.
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": "", "PYTHONDONTWRITEBYTECODE": "1"}
        words = [sys.executable, "-c", program]
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
        found, hits = map(int, done.stdout.split())
        return found, hits

    assert [run(1), run(1), run(3)] == [(2, 0), (2, 1), (4, 0)]


# Starts with the others: prints the sum, how many compilations were loaded, and how many are kept.
ONE_OF_SEVERAL = """
import numpy as np, sys
from sum_kernel import total
print("ready", flush=True)
sys.stdin.readline()
print(total(np.ones(3)), sum(total.stats.cache_hits.values()), len(total._cache._cache_file._load_index()))
"""
SUM = """
from preprocess.jit import compile_kernel

@compile_kernel
def total(x):
    found = x[0]
    for k in range(1, x.size):
        found += x[k]
    return found
"""


@pytest.mark.slow
def test_processes_that_need_one_kernel_compile_it_once(tmp_path: Path):
    (tmp_path / "sum_kernel.py").write_text(SUM)
    environment = os.environ | {"PYTHONPATH": f"{Path(preprocess.__file__).parent.parent}:{tmp_path}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", ONE_OF_SEVERAL], env=environment, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = sorted(process.communicate()[0].split() for process in processes)
    assert found == [["3.0", "0", "1"], ["3.0", "1", "1"], ["3.0", "1", "1"]]


def test_starting_numba_neither_loads_scipy_nor_keeps_it_from_being_loaded():
    code = (
        "import sys; from preprocess.jit import start_numba; start_numba(); assert 'scipy.linalg' not in sys.modules;"
        "import numba, scipy.linalg.cython_blas; assert numba.njit(lambda x: x + 1)(1) == 2"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
