"""A folder of emulated recordings: made whole or not at all, and never over anything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from preprocess.errors import LayoutError

# Counts up whenever the same request would give other bytes.
EMULATOR_VERSION = 1

ABOUT = "emulated.json"

# What gestures were before one could ask for anything else: older folders do not say it.
_UNSAID = {"difficulty": "plain", "test_share": 0.2}


def make_folder(
    out: Path, kind: str, samples_per_class: int, seed: int, fill: Callable[[Path], dict[str, int]], **more: Any
) -> None:
    """Fill a folder under a temporary name beside it, describe it in ``emulated.json``, then give it its name.

    Args:
        out: Missing or empty; or made by the same request before, which is kept.
        kind: What is emulated, such as gestures.
        samples_per_class: Asked for.
        seed: Asked for.
        fill: Writes the files into the folder given; its answer, such as the number of events, is kept.
        **more: What else was asked for.

    Raises:
        LayoutError: If there is something else, or the folder cannot be written.
    """
    request = {"emulated": kind, "version": EMULATOR_VERSION, "samples_per_class": samples_per_class, "seed": seed}
    request |= more
    try:
        if not _is_there(out, request):
            _make(out, request, fill)
    except OSError as error:
        hint = "Check the free space and the permissions, or choose another --out."
        raise LayoutError(f"{out}: cannot be made ({error.strerror}). {hint}") from error


def _make(out: Path, request: dict[str, Any], fill: Callable[[Path], dict[str, int]]) -> None:
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        # What an earlier run left that could not clean up.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        about = request | fill(temporary)
        about |= _files(temporary)
        (temporary / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        # Takes the place of an empty folder too.
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_about(out: Path) -> dict[str, Any]:
    """What ``emulated.json`` says; nothing where there is none."""
    try:
        about = json.loads((out / ABOUT).read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(about, dict) or "emulated" not in about:
        return {}
    return _UNSAID | about if about["emulated"] == "gestures" else about


def _is_there(out: Path, request: dict[str, Any]) -> bool:
    """Whether the folder holds what is asked for; LayoutError if it holds anything else."""
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
    asked = ["samples_per_class", "seed", *(key for key in (*_UNSAID, "lag_ms") if key in about)]
    words = " ".join(f"--{key.replace('_', '-')} {about.get(key)}" for key in asked)
    return f"emulated {about['emulated']} ({words}, version {about.get('version')})"
