"""The output folder of the emulator: created atomically, and never over other files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from preprocess.errors import LayoutError

# Incremented whenever the same request gives different files.
EMULATOR_VERSION = 1

ABOUT = "emulated.json"

# Settings of gestures that folders of earlier versions do not record, because they were fixed.
_UNRECORDED = {"difficulty": "plain", "test_share": 0.2}


def make_folder(
    out: Path, kind: str, samples_per_class: int, seed: int, fill: Callable[[Path], dict[str, int]], **more: Any
) -> None:
    """Fill a folder under a temporary name, describe it in ``emulated.json``, then rename it.

    Args:
        out: The folder; missing, empty, or the result of an earlier call with the same arguments, which is kept.
        kind: What is emulated, such as gestures.
        samples_per_class: Number of samples per class, for ``emulated.json``.
        seed: Random seed, for ``emulated.json``.
        fill: Called with a folder to write the files into; returns further entries for ``emulated.json``, such as the
            number of events.
        **more: Further arguments of the emulator, for ``emulated.json``.

    Raises:
        LayoutError: If the folder contains something else or cannot be written.
    """
    request = {"emulated": kind, "version": EMULATOR_VERSION, "samples_per_class": samples_per_class, "seed": seed}
    request |= more
    try:
        if not _is_there(out, request):
            _make(out, request, fill)
    except OSError as error:
        hint = "Check the free space and the permissions, or choose another --out."
        raise LayoutError(f"{out}: cannot be created ({error.strerror}). {hint}") from error


def _make(out: Path, request: dict[str, Any], fill: Callable[[Path], dict[str, int]]) -> None:
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        # A killed run may have left it.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        about = request | fill(temporary)
        about |= _files(temporary)
        (temporary / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        # Also replaces an empty folder.
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_about(out: Path) -> dict[str, Any]:
    """Read ``emulated.json``; empty if there is none."""
    try:
        about = json.loads((out / ABOUT).read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(about, dict) or "emulated" not in about:
        return {}
    return _UNRECORDED | about if about["emulated"] == "gestures" else about


def _is_there(out: Path, request: dict[str, Any]) -> bool:
    """Whether the folder contains the requested recordings; LayoutError if it contains anything else."""
    hint = "Choose another --out, or delete it."
    if not out.exists():
        return False
    if not out.is_dir():
        raise LayoutError(f"{out}: expected a folder, found a file. {hint}")
    names = sorted(path.name for path in out.iterdir())
    if not names:
        return False
    about = read_about(out)
    if not about:
        found = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
        raise LayoutError(f"{out}: expected an empty folder or one that emulate made, found {found}. {hint}")
    if {key: about.get(key) for key in request} != request:
        raise LayoutError(f"{out}: expected {_describe(request)}, found {_describe(about)}. {hint}")
    if {key: about.get(key) for key in ("files", "bytes")} != _files(out):
        raise LayoutError(f"{out}: expected the {about.get('files')} files that emulate made, found others. {hint}")
    return True


def _files(folder: Path) -> dict[str, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != ABOUT]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _describe(about: dict[str, Any]) -> str:
    keys = ["samples_per_class", "seed", *(key for key in (*_UNRECORDED, "lag_ms") if key in about)]
    options = " ".join(f"--{key.replace('_', '-')} {about.get(key)}" for key in keys)
    return f"emulated {about['emulated']} ({options}, version {about.get('version')})"
