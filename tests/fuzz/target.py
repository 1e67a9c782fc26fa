"""A fuzz target: the files it starts from, how the product reads one, and which outcomes are allowed.

An input is read to the end, or refused with an error of the user in one line each. Everything else is a finding:
another exception, a warning, a broken invariant, files that are left behind, open files, a crash, a hang, or more
memory than the limit. The last three end the process, so that `supervisor` notices them.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from preprocess.errors import SpikeloomError

Outcome = Literal["read", "refused"]
Mutator = Callable[[np.random.Generator, bytearray], bytearray]

REPOSITORY = Path(__file__).resolve().parent.parent.parent
INPUTS = Path(__file__).resolve().parent / "inputs"
"""Inputs that once failed: a folder for each target."""

_SAYS_WHAT_IS_WRONG = re.compile(r"\bexpected |\bcannot |\bcould not |\bdamaged\b|: \d+ more errors? of this kind\.")
_LONGEST_LINE = 4000
_MOST_OPEN_FILES = 50


class Finding(Exception):
    """What must not happen; `kind` is the class of finding, and `place` tells findings of one kind apart."""

    def __init__(self, kind: str, details: str, place: str = "") -> None:
        super().__init__(f"{kind}: {details}")
        self.kind, self.details, self.place = kind, details, place


def _nothing(folder: Path) -> None:
    pass


@dataclass(frozen=True)
class Target:
    """A kind of file and its reader.

    Attributes:
        name: Unique name.
        file: The file that an input is written to, relative to the working folder.
        seeds: Called with an empty folder; returns the contents of valid files, made by the writers of the tests.
        read: Called with the path of a file; reads all of it as a user's command does. An AssertionError is a finding.
        prepare: Called once with the working folder, to write the other files that the reader needs.
        mutators: Changes of the structure of such files, besides the changes of bytes.
        makes: Files and folders, relative to the working folder, that reading a valid file may create.
    """

    name: str
    file: str
    seeds: Callable[[Path], Iterable[bytes]]
    read: Callable[[Path], object]
    prepare: Callable[[Path], None] = _nothing
    mutators: tuple[Mutator, ...] = ()
    makes: tuple[str, ...] = ()

    def contents(self, folder: Path) -> list[bytes]:
        """The contents of valid files, and of inputs that once failed; `folder` is deleted afterwards."""
        folder.mkdir(parents=True)
        try:
            return [*self.seeds(folder), *(path.read_bytes() for path in self.inputs())]
        finally:
            shutil.rmtree(folder)

    def inputs(self) -> list[Path]:
        """The inputs that once failed, sorted."""
        return sorted((INPUTS / self.name).glob("*"))


class Room:
    """A folder in which inputs of a target are read, and which must not change otherwise.

    The files are in ``work`` below it, so that a file that appears beside that folder is noticed too.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self.target, self.folder = target, folder
        self._work = folder / "work"
        self.path = self._work / target.file
        self._work.mkdir(parents=True)
        target.prepare(self._work)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self._before = self._names()
        self._open = _count_open_files()

    def run(self, content: bytes) -> Outcome:
        """Read an input; Finding if the outcome is not allowed."""
        self.path.write_bytes(content)
        outcome: Outcome = "read"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self.target.read(self.path)
            except SpikeloomError as error:
                outcome = "refused"
                _check_lines(error)
            except MemoryError:
                # The command line says so in a line; memory that is really used is limited by the process.
                outcome = "refused"
            except Finding:
                raise
            except Exception as error:
                raise Finding(type(error).__name__, traceback.format_exc(), _place_of(error)) from error
            finally:
                left = self._clean_up()
        loud = [warning for warning in caught if not issubclass(warning.category, ResourceWarning)]
        if loud:
            place = f"{loud[0].filename}:{loud[0].lineno}"
            raise Finding(loud[0].category.__name__, f"{loud[0].message} ({place})", place)
        allowed = self.target.makes if outcome == "read" else ()
        strange = sorted(name for name in left if name not in allowed)
        if strange:
            raise Finding("leftover", f"{outcome}, and there are {', '.join(strange[:9])}", outcome)
        self._check_open_files()
        return outcome

    def _names(self) -> set[str]:
        """Every file and folder below the room, relative to the working folder."""
        found = set()
        for above, folders, files in os.walk(self.folder):
            found |= {os.path.relpath(os.path.join(above, name), self._work) for name in (*folders, *files)}
        return found

    def _clean_up(self) -> set[str]:
        """Delete what reading created; returns the names, without what is below a folder that is new itself."""
        now = self._names()
        new = {name for name in now - self._before if os.path.dirname(name) not in now - self._before}
        for name in new:
            path = self._work / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        gone = self._before - now
        return new | {f"no {name} any more" for name in gone}

    def _check_open_files(self) -> None:
        if _count_open_files() > self._open + _MOST_OPEN_FILES:
            gc.collect()
            if (count := _count_open_files()) > self._open + _MOST_OPEN_FILES:
                raise Finding("open files", f"{count}, expected about {self._open}")


def _count_open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def _check_lines(error: SpikeloomError) -> None:
    """Every error is one line that says what is wrong."""
    place = f"{type(error).__name__} {_place_of(error)}"
    if not error.errors:
        raise Finding("message", "an error without a line", place)
    for line in error.errors:
        if len(line.splitlines()) != 1 or len(line) > _LONGEST_LINE or not _SAYS_WHAT_IS_WRONG.search(line):
            raise Finding("message", f"expected one line that says what is wrong, found {line[:500]!r}", place)


def _place_of(error: BaseException) -> str:
    """The innermost line of the product in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(str(REPOSITORY))]
    frame = (own or list(frames))[-1]
    return f"{Path(frame.filename).name}:{frame.name}:{frame.lineno}"
