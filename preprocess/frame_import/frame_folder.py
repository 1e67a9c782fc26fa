"""Find files of frames in a folder, with the class and split that their folders give.

[train|test]/CLASS/*.npz     SpikingJelly's frames_number_20_split_by_number, duration_1000000 and others
[train|test]/*.pt, *.hdf5    class numbers in the files: TET's CIFAR10-DVS, tonic's DiskCachedDataset
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preprocess.datasets.layout import Form, Layout, folders, locate_form, raise_all
from preprocess.errors import LayoutError
from preprocess.files import ARCHIVE_ERRORS
from preprocess.frame_import.frame_file import READERS
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN

_SPLITS = {"train": TRAIN, "test": TEST}
_EXPECTED = "frames of samples (.npz, .pt, .hdf5), in folders CLASS or train and test, or both"


@dataclass(frozen=True)
class FrameFile:
    """A file of one sample.

    Attributes:
        path: The file.
        relative: Its path relative to the folder of the data set.
        class_name: The name of its folder; "" if the class number is in the file.
        split: TRAIN, TEST or NO_SPLIT of `preprocess.store.sample_table`.
        group: The subject, where the file's name begins with one, such as user01; "" otherwise.
    """

    path: Path
    relative: str
    class_name: str
    split: int
    group: str


@dataclass(frozen=True)
class FrameFolder:
    """The files of a data set, in order, and what was left out.

    Attributes:
        folder: The folder that contains them.
        files: The files; at least one.
        copies: Number of further augmented copies that tonic cached of the same samples, which are left out.
    """

    folder: Path
    files: tuple[FrameFile, ...]
    copies: int


def find_frame_folder(source: Path) -> FrameFolder:
    """Find the files of frames in a folder, or up to two levels below it.

    Raises:
        LayoutError: If there are none, or several sets of them, in one line.
    """
    _, folder = locate_form(source, _FORMS, "frames")
    parts = _parts(folder)
    found = [file for name, split in parts.items() for file in _files(folder, name, split)]
    errors = []
    if len({bool(file.class_name) for file in found}) > 1:
        errors.append(f"{folder}: expected files in class folders or outside of them, found both. Move one kind.")
    if len({file.path.suffix.lower() for file in found}) > 1:
        suffixes = ", ".join(sorted({file.path.suffix.lower() for file in found}))
        errors.append(f"{folder}: expected files of one kind, found {suffixes}. Move one kind elsewhere.")
    raise_all(folder, errors)
    first = [file for file in found if not _is_copy(file.path)]
    return FrameFolder(folder, tuple(first), len(found) - len(first))


def _is_copy(path: Path) -> bool:
    """Whether tonic cached an earlier copy of the same sample: files are named ``<sample>_<copy>.hdf5``."""
    return path.suffix.lower() == ".hdf5" and re.fullmatch(r"\d+_0*[1-9]\d*", path.stem) is not None


def _parts(folder: Path) -> dict[str, int]:
    """The folders of splits by name; "" for a folder without."""
    names = {path.name: path.name.lower() for path in folders(folder)}
    found = {name: _SPLITS[lower] for name, lower in names.items() if lower in _SPLITS}
    # train comes first, whatever its name's case.
    return dict(sorted(found.items(), key=lambda item: item[1])) or {"": NO_SPLIT}


def _files(folder: Path, part: str, split: int) -> Iterator[FrameFile]:
    place = folder / part
    for path in _frames_in(place):
        yield _file(path, folder, "", split)
    for inner in folders(place):
        for path in _frames_in(inner):
            yield _file(path, folder, inner.name, split)


def _file(path: Path, folder: Path, class_name: str, split: int) -> FrameFile:
    subject = re.match(r"user\d+(?=_)", path.name)
    return FrameFile(path, str(path.relative_to(folder)), class_name, split, subject.group() if subject else "")


def _frames_in(folder: Path) -> list[Path]:
    """Files of frames in a folder, in the order of the numbers in their names."""
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in READERS and not path.name.startswith(".")]
    except OSError as error:
        raise LayoutError(f"{folder}: cannot be read ({error.strerror}). Check its permissions.") from None
    return sorted(found, key=lambda path: ([int(n) for n in re.findall(r"\d+", path.stem)], path.name))


def _has_frames(folder: Path) -> bool:
    """Whether the first file of a folder is one of frames: SpikingJelly saves events as .npz too."""
    first = next(iter(_frames_in(folder)), None)
    if first is None or first.suffix.lower() != ".npz":
        return first is not None
    try:
        with zipfile.ZipFile(first) as archive:
            return "frames.npy" in archive.namelist()
    except (OSError, *ARCHIVE_ERRORS):
        return False


def _fits_classes(folder: Path, _: str) -> bool:
    return any(_has_frames(inner) for inner in folders(folder) if inner.name.lower() not in _SPLITS)


def _fits_splits(folder: Path, _: str) -> bool:
    parts = [inner for inner in folders(folder) if inner.name.lower() in _SPLITS]
    return any(_has_frames(part) or _fits_classes(part, "") for part in parts)


def _no_layout(folder: Path, dataset: str) -> Layout:
    raise AssertionError("frames are not recordings")


_FORMS = (
    Form("train and test", _EXPECTED, _fits_splits, _no_layout),
    Form("folders of classes", _EXPECTED, _fits_classes, _no_layout),
    Form("files with class numbers", _EXPECTED, lambda folder, _: _has_frames(folder), _no_layout),
)
