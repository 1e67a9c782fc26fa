"""Compiled loops: Numba compiles a kernel once for each combination of types; later processes load it from a cache.

Numba recompiles a cached kernel when its own file changes. Here it is also recompiled when a module of these packages
changes that its file imports, directly or indirectly: such a module may define functions or constants that are part of
the machine code.

Of several processes that need the same kernel, such as the trials of a search, one compiles it and the others wait and
load it. Numba alone would compile it in each, and may mix up the files of two processes that save at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock

_LINEAR_ALGEBRA = "scipy.linalg.cython_blas"
_ROOT = Path(__file__).resolve().parent.parent
_IMPORT = re.compile(
    r"^(?:from|import)\s+(?P<module>(?:preprocess|pipeline|tune)[\w.]*)(?:\s+import\s+(?P<names>\([^)]*\)|.+))?", re.M
)


def compile_kernel(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a loop that releases the GIL and checks neither bounds nor divisions by zero.

    The cache is in ``__pycache__`` next to the function's file; in the user's cache folder if the package is not
    writable; in a temporary folder of the user if that is not writable either. ``NUMBA_CACHE_DIR`` overrides all three.

    Args:
        function: The loop.
        **options: Further options of ``numba.njit``.
    """
    # error_model="numpy" drops the check for division by zero, which keeps loops from vectorising.
    kernel = numba.njit(cache=True, nogil=True, error_model="numpy", **options)
    try:
        compiled = kernel(function)
    except RuntimeError:
        # Numba raises this when it finds no folder for its cache.
        _keep_among_temporary_files()
        compiled = kernel(function)
    # Numba has no public function to extend the stamp that a cached kernel must match.
    index = compiled._cache._cache_file
    index._source_stamp = (index._source_stamp, _digest_of_sources(Path(inspect.getfile(function)).resolve()))
    _compile_in_one_process(compiled)
    return compiled


def start_numba() -> None:
    """Load the modules that Numba loads at its first call (0.2 s), so that forks of this process have them.

    Compiled loops of this process cannot use linear algebra, for which Numba would load SciPy (0.1 s).
    """
    halted = {_LINEAR_ALGEBRA: None} if _LINEAR_ALGEBRA not in sys.modules else {}
    modules: dict[str, Any] = sys.modules
    modules.update(halted)
    try:
        numba.core.registry.cpu_target.target_context.refresh()
        numba.core.registry.cpu_target.typing_context.refresh()
    finally:
        for name in halted:
            del modules[name]


def _compile_in_one_process(compiled: Any) -> None:
    """Have each compilation of a kernel wait for other processes that compile it, and load what they have saved."""
    compile_or_load, index = compiled.compile, compiled._cache._cache_file

    def compile_alone(types: Any) -> Any:
        # Numba's own lock first, as when one kernel calls another: in any other order two threads could block for good.
        with global_compiler_lock:
            key = compiled._cache._index_key(types, compiled.targetctx.codegen())
            with contextlib.nullcontext() if key in index._load_index() else _locked(Path(index._index_path)):
                return compile_or_load(types)

    compiled.compile = compile_alone


@contextlib.contextmanager
def _locked(index: Path) -> Iterator[None]:
    """Hold the lock next to a kernel's index; without it where the file system refuses locks."""
    with contextlib.ExitStack() as clean_up:
        with contextlib.suppress(OSError):
            index.parent.mkdir(parents=True, exist_ok=True)
            file = clean_up.enter_context(index.with_suffix(".lock").open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def _digest_of_sources(file: Path) -> str:
    """Return a hash of a file and of the modules of these packages that it imports, directly or indirectly."""
    found: dict[Path, bytes] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path], imported = _read_source(path)
            waiting += imported
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(found[path])
    return digest.hexdigest()


@cache
def _read_source(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    """Return the hash of a file, and the modules of these packages that it imports."""
    try:
        source = path.read_bytes()
    except OSError:
        # The package is inside an archive; Numba computes the stamp from the archive.
        return b"", ()
    imported: dict[Path, None] = {}
    for match in _IMPORT.finditer(source.decode(errors="replace")):
        module = _ROOT.joinpath(*match["module"].split("."))
        files = [module.with_suffix(".py")]
        if module.is_dir():
            # A name that is imported from a package may be a module.
            names = re.findall(r"\w+", match["names"] or "")
            files = [module / f"{name}.py" for name in ("__init__", *names)]
        imported |= dict.fromkeys(file for file in files if file.is_file())
    return hashlib.sha256(source).digest(), tuple(imported)


def _keep_among_temporary_files() -> None:
    folder = Path(tempfile.gettempdir()) / f"spikeloom-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # Code is loaded from this folder, so it is not trusted if another user could have created it.
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        folder = Path(tempfile.mkdtemp(prefix="spikeloom-kernels-"))
    # The environment goes to worker processes too.
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    config.reload_config()
