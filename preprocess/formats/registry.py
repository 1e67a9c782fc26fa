"""Recognising the format of a file: by its first bytes, or by its suffix for formats without a signature."""

from __future__ import annotations

from pathlib import Path

from preprocess.errors import RecordingError
from preprocess.formats.aedat2 import Aedat2Recording
from preprocess.formats.aedat4 import Aedat4Recording
from preprocess.formats.aedat31 import Aedat31Recording
from preprocess.formats.array_columns import NO_OPTIONS, ArrayOptions
from preprocess.formats.atis import AtisRecording
from preprocess.formats.numpy_files import ArrayRecording, NpyRecording, NpzRecording, TonicNpyRecording
from preprocess.formats.prophesee import DatRecording, Evt2Recording, Evt3Recording
from preprocess.formats.recording import HEAD_BYTES, Recording, Size, file_size, unreadable

# The first format that recognises a file is used; tonic's arrays look like others, so their format is requested.
_KINDS: tuple[type[Recording], ...] = (
    Aedat31Recording,
    Aedat2Recording,
    Aedat4Recording,
    Evt2Recording,
    Evt3Recording,
    DatRecording,
    NpyRecording,
    NpzRecording,
    TonicNpyRecording,
    AtisRecording,
)

FORMATS: dict[str, type[Recording]] = {kind.NAME: kind for kind in _KINDS}

SUFFIXES: tuple[str, ...] = tuple(dict.fromkeys(kind.SUFFIX for kind in _KINDS))


def open_recording(
    path: Path | str, *, format: str | None = None, size: Size | None = None, arrays: ArrayOptions = NO_OPTIONS
) -> Recording:
    """Open a raw recording; its events are decoded when its chunks are read.

    Args:
        path: The file.
        format: A key of FORMATS, to accept only that format; None accepts all.
        size: Rows and columns of the sensor, used only if the file does not store them.
        arrays: Column order and time unit of NumPy files that do not contain them; other formats ignore it.

    Raises:
        RecordingError: If the file cannot be read, has no known format or another than requested, or comes from
            another sensor.
    """
    path = Path(path).expanduser()
    file_size(path)
    head = _first_bytes(path)
    kind = next((kind for kind in _KINDS if _is(kind, head, path)), None)
    if format is not None and not _is(FORMATS[format], head, path):
        found = kind.TITLE if kind else f"a file that begins with {head[:16]!r}"
        raise RecordingError(f"{path}: expected {FORMATS[format].TITLE}, found {found}. Leave the file out.")
    if format is not None:
        kind = FORMATS[format]
    if kind is None:
        known = ", ".join(dict.fromkeys(f"{k.TITLE} ({k.SUFFIX})" for k in _KINDS if k is not TonicNpyRecording))
        raise RecordingError(
            f"{path}: expected a recording of a known format, one of {known}, found a file that begins with "
            f"{head[:16]!r}. Convert it, or give another file."
        )
    return kind.open(path, size, arrays) if issubclass(kind, ArrayRecording) else kind.open(path, size)


def _is(kind: type[Recording], head: bytes, path: Path) -> bool:
    if kind.MAGIC:
        return kind.recognises(head)
    # The signature of another format outweighs the suffix.
    return path.suffix.lower() == kind.SUFFIX and not any(k.MAGIC and k.recognises(head) for k in _KINDS)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise unreadable(path, error) from None
