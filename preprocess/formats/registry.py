"""Which format a file is: by its first bytes, and where nothing marks them by its name."""

from __future__ import annotations

from pathlib import Path

from preprocess.errors import RecordingError
from preprocess.formats.aedat2 import Aedat2Recording
from preprocess.formats.aedat31 import Aedat31Recording
from preprocess.formats.atis import AtisRecording
from preprocess.formats.recording import Recording, file_size, unreadable

_KINDS: tuple[type[Recording], ...] = (Aedat31Recording, Aedat2Recording, AtisRecording)

FORMATS: dict[str, type[Recording]] = {kind.NAME: kind for kind in _KINDS}


def open_recording(path: Path | str, *, format: str | None = None) -> Recording:
    """Open a raw recording; its events are decoded when its chunks are taken.

    Args:
        path: The file.
        format: A key of FORMATS, where only that one will do; None takes any.

    Raises:
        RecordingError: If the file cannot be read, is of no format or of another than asked for, is truncated, or
            comes from another sensor.
    """
    path = Path(path).expanduser()
    file_size(path)
    head = _first_bytes(path)
    marked = next((kind for kind in _KINDS if kind.MAGIC and head.startswith(kind.MAGIC)), None)
    named = next((kind for kind in _KINDS if not kind.MAGIC and path.suffix.lower() == kind.SUFFIX), None)
    kind = marked or named
    if format is not None and kind is not FORMATS[format]:
        found = kind.TITLE if kind else f"a file that begins with {head!r}"
        raise RecordingError(f"{path}: expected {FORMATS[format].TITLE}, found {found}. Leave the file out.")
    if kind is None:
        known = ", ".join(f"{k.TITLE} ({k.SUFFIX})" for k in _KINDS)
        raise RecordingError(
            f"{path}: expected a recording of a known format, one of {known}, found a file that begins with {head!r}. "
            "Convert it, or give another file."
        )
    return kind.open(path)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise unreadable(path, error) from None
