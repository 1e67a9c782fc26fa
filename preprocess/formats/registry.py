"""The registry of raw formats, which are recognised by the first bytes of a file, or by its suffix."""

from __future__ import annotations

import pickle
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from preprocess.errors import ConfigError, RecordingError
from preprocess.formats.aedat.aedat2 import Aedat2Recording
from preprocess.formats.aedat.aedat4 import Aedat4Recording
from preprocess.formats.aedat.aedat31 import Aedat31Recording
from preprocess.formats.atis import AtisRecording
from preprocess.formats.column_recording import ColumnRecording
from preprocess.formats.custom_format import CustomRecording, ReadEvents, custom_format
from preprocess.formats.event_stream import EventStreamRecording
from preprocess.formats.hdf5.hdf5_recording import Hdf5Recording
from preprocess.formats.hdf5.spike_trains import SpikeTrainRecording
from preprocess.formats.matlab.asl_dvs_mat import AslDvsMatRecording
from preprocess.formats.matlab.mat73 import Mat73Recording
from preprocess.formats.matlab.mat_recording import MatRecording
from preprocess.formats.numpy_files import NpyRecording, NpzRecording, TonicNpyRecording
from preprocess.formats.prophesee.dat import DatRecording
from preprocess.formats.prophesee.evt2 import Evt2Recording
from preprocess.formats.prophesee.evt3 import Evt3Recording
from preprocess.formats.prophesee.evt21 import Evt21Recording
from preprocess.formats.read_options import NO_OPTIONS, ReadOptions, flags
from preprocess.formats.recording import Recording, Size, file_size, first_bytes
from preprocess.formats.rosbag1 import RosbagRecording
from preprocess.formats.text.text_recording import TextRecording
from preprocess.formats.unsupported import unsupported_format

# The first format that recognises a file is used; some of one data set look like others: they are requested.
_BUILT_IN: tuple[type[Recording], ...] = (
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
    Evt21Recording,
    EventStreamRecording,
    TextRecording,
    Hdf5Recording,
    SpikeTrainRecording,
    MatRecording,
    AslDvsMatRecording,
    Mat73Recording,
    RosbagRecording,
)

_FIRST_FORMATS = ("aedat31", "aedat2", "aedat4", "evt2", "evt3", "dat", "npy", "npz", "npy-tonic", "atis")

FORMATS: dict[str, type[Recording]] = {kind.NAME: kind for kind in _BUILT_IN}
"""Every readable format by name; `register_format` adds to it."""

SUFFIXES: list[str] = list(dict.fromkeys(suffix for kind in _BUILT_IN for suffix in kind.suffixes()))
"""The suffixes of recordings."""


def formats_of(suffix: str) -> list[type[Recording]]:
    """The formats whose files may have this suffix."""
    return [kind for kind in FORMATS.values() if suffix.lower() in kind.suffixes()]


def may_be_recording(path: Path) -> bool:
    """Whether a file among the recordings of a folder is one, by its suffix and, if that is common, its beginning."""
    return any(kind.may_be_recording(path) for kind in formats_of(path.suffix))


def files_for(names: Sequence[str]) -> str:
    """Readable list of the files that options apply to, such as ``.npy or .npz file for --columns``."""
    kinds = [kind for kind in FORMATS.values() if set(names) & set(kind.OPTIONS)]
    suffixes = list(dict.fromkeys(suffix for kind in kinds for suffix in kind.suffixes()))
    listed = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}" if len(suffixes) > 1 else "".join(suffixes)
    return f"{listed} file for {flags(names)}"


def register_format(
    name: str, read: ReadEvents, *, suffix: str, magic: bytes = b"", title: str = "", version: int = 1
) -> None:
    """Register a custom raw format, for this process, so that all functions and commands can read it.

    Custom formats are recognised before the built-in ones. Registering a name again replaces its reader.

    Args:
        name: Name in fingerprints and for `Layout.format`; letters, digits and hyphens.
        read: Called with the path of a file; returns its `Events`, or an iterable of `Events` in recording order for
            files that do not fit in memory. An exception that it raises is reported as a damaged file.
        suffix: Suffix of such files, such as ``.evx``.
        magic: First bytes of such files; if empty, they are recognised by the suffix alone.
        title: Name in messages; `name` if empty.
        version: Increase it when `read` returns other events for the same file, so that caches are rebuilt.

    Raises:
        ConfigError: If the name is that of a built-in format, or the name or suffix is invalid.
    """
    errors = []
    if not callable(read):
        errors.append(f"format {name}: expected a function that returns Events, found {read!r}")
    if any(name == kind.NAME for kind in _BUILT_IN):
        errors.append(f"format: expected a new name, found '{name}', which is built in. Choose another.")
    elif not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9-]+", name):
        errors.append(f"format: expected a name of letters, digits and hyphens, found '{name}'. Choose another.")
    if not re.fullmatch(r"\.[^./]+", suffix):
        errors.append(f"format {name}: expected a suffix such as .evx, found '{suffix}'. Begin it with a dot.")
    if errors:
        raise ConfigError(*errors)
    FORMATS[name] = custom_format(name, read, suffix=suffix.lower(), magic=magic, title=title, version=version)
    if suffix.lower() not in SUFFIXES:
        SUFFIXES.append(suffix.lower())


def registered_formats() -> tuple[type[CustomRecording], ...]:
    """The formats that `register_format` added."""
    return tuple(kind for kind in FORMATS.values() if issubclass(kind, CustomRecording))


@dataclass(frozen=True)
class CustomReader:
    """The arguments of one call of `register_format`, for worker processes that must repeat it."""

    name: str
    read: ReadEvents
    suffix: str
    magic: bytes
    title: str
    version: int

    def register(self) -> None:
        """Register the format in this process."""
        register_format(
            self.name, self.read, suffix=self.suffix, magic=self.magic, title=self.title, version=self.version
        )


def custom_readers(*, portable: bool) -> tuple[CustomReader, ...]:
    """Return all registered formats, for worker processes.

    Args:
        portable: Whether the workers are new processes, to which only functions defined in a module can be sent.

    Raises:
        ConfigError: If a reader cannot be sent.
    """
    readers = tuple(
        CustomReader(kind.NAME, kind.READ, kind.SUFFIX, kind.MAGIC, kind.TITLE, kind.VERSION)
        for kind in registered_formats()
    )
    for reader in readers if portable else ():
        try:
            pickle.dumps(reader.read)
        except Exception as error:  # pickle raises errors of several kinds
            raise ConfigError(
                f"format {reader.name}: expected a reader that is a function of a module, to decode with several "
                f"workers, found one that cannot be sent to them ({error}). Use one worker."
            ) from None
    return readers


def decoder_of(format: str | None, suffixes: Collection[str]) -> list[str]:
    """Return the name and version of every reader that recordings may need, for fingerprints.

    Args:
        format: A key of FORMATS, or None for any format.
        suffixes: Suffixes of the recordings. Registered formats, and those that were added later, are only included if
            one of them has their suffix, so that adding a format does not invalidate other caches.
    """
    kinds = [kind for kind in FORMATS.values() if kind.NAME in _FIRST_FORMATS or set(kind.suffixes()) & set(suffixes)]
    return [f"{kind.NAME} {kind.VERSION}" for kind in (kinds if format is None else [FORMATS[format]])]


def open_recording(
    path: Path | str, *, format: str | None = None, size: Size | None = None, options: ReadOptions = NO_OPTIONS
) -> Recording:
    """Open a raw recording; its events are decoded when its chunks are read.

    Args:
        path: The file.
        format: A key of FORMATS, to accept only that format; None accepts all.
        size: Rows and columns of the sensor, used only if the file does not store them.
        options: Columns, time unit and place of the events, for files that do not state them; others ignore it.

    Raises:
        RecordingError: If the file cannot be read, has no known format or another than requested, or comes from
            another sensor.
    """
    path = Path(path).expanduser()
    file_size(path)
    head = first_bytes(path)
    kind = find_format(path, head, format)
    if format is not None and kind is not FORMATS[format]:
        found = kind.TITLE if kind else f"a file that begins with {head[:16]!r}"
        raise RecordingError(f"{path}: expected {FORMATS[format].TITLE}, found {found}. Leave the file out.")
    if kind is None and (other := unsupported_format(head)) is not None:
        raise RecordingError(
            f"{path}: expected a recording of a format that is read here, found {other[0]}. Convert it with {other[1]}."
        )
    if kind is None:
        shown = [kind for kind in FORMATS.values() if kind not in (TonicNpyRecording, AslDvsMatRecording)]
        known = ", ".join(dict.fromkeys(f"{kind.TITLE} ({kind.SUFFIX})" for kind in shown))
        raise RecordingError(
            f"{path}: expected a recording of a known format, one of {known}, found a file that begins with "
            f"{head[:16]!r}. Convert it, or give another file."
        )
    return (
        kind.open(path, size, options)
        if issubclass(kind, (ColumnRecording, RosbagRecording))
        else kind.open(path, size)
    )


def find_format(path: Path, head: bytes, expected: str | None) -> type[Recording] | None:
    """Return the format of a file that begins with these bytes, or None.

    Args:
        path: The file.
        head: Its first HEAD_BYTES bytes, or all of a shorter one.
        expected: A key of FORMATS, which is preferred if it fits the file; None prefers none.
    """
    if expected is not None and _is(FORMATS[expected], head, path):
        return FORMATS[expected]
    return next((kind for kind in (*registered_formats(), *_BUILT_IN) if _is(kind, head, path)), None)


def _is(kind: type[Recording], head: bytes, path: Path) -> bool:
    if kind.MAGIC:
        return kind.recognises(head)
    if path.suffix.lower() not in kind.suffixes():
        return False
    # The signature of another format outweighs the suffix, unless the user registered the suffix.
    if issubclass(kind, CustomRecording) or not head.startswith(_signatures(tuple(FORMATS.values()))):
        return True
    return not any(other.MAGIC and other.recognises(head) for other in FORMATS.values())


@lru_cache(maxsize=1)
def _signatures(kinds: tuple[type[Recording], ...]) -> tuple[bytes, ...]:
    return tuple(kind.MAGIC for kind in kinds if kind.MAGIC)
