"""Compiled loops: Numba compiles a kernel once for each set of types, and the next process takes it from the disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config


def compile_kernel(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a loop that releases the GIL, does not check bounds, and divides by nothing that may be zero.

    What is compiled is kept in ``__pycache__`` beside the function's file, in the user's cache folder where the
    package may not be written, or in a folder of this user's for temporary files where that may not be written either.

    Args:
        function: The loop.
        **options: More of ``numba.njit``'s.
    """
    # error_model="numpy" drops the check for division by zero, which keeps loops from vectorising.
    kernel = numba.njit(cache=True, nogil=True, error_model="numpy", **options)
    try:
        return kernel(function)
    except RuntimeError:
        # All that Numba says where it finds no folder for its cache.
        _keep_among_temporary_files()
        return kernel(function)


def start_numba() -> None:
    """Load what Numba loads at its first call, 0.3 s of modules; forks of this process have it too."""
    numba.core.registry.cpu_target.target_context.refresh()
    numba.core.registry.cpu_target.typing_context.refresh()


def _keep_among_temporary_files() -> None:
    folder = Path(tempfile.gettempdir()) / f"spikeloom-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # Code is loaded from there: a folder that somebody else could have made is not trusted.
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        folder = Path(tempfile.mkdtemp(prefix="spikeloom-kernels-"))
    # The environment goes to worker processes too.
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    config.reload_config()
