"""The contents of a folder of static images: files, each with one or many labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Normalisation(NamedTuple):
    """Mean and standard deviation of each channel over the training images, on a scale from 0 to 1."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a file, in its order.

    Attributes:
        pixels: uint8 (n, 3, H, W).
        labels: Class numbers, int64 (n,).
        names: A readable name of each image, unique within the data set.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: list[str]


@dataclass(frozen=True)
class ImageFile:
    """A file of images.

    Attributes:
        path: The file.
        relative: Its path below the data set's folder.
        split: TRAIN or TEST of `preprocess.store.sample_table`.
        decode: Returns the images in the bytes of the file; RecordingError, in one line, if it is damaged.
    """

    path: Path
    relative: str
    split: int
    decode: Callable[[bytes], Images]


@dataclass(frozen=True)
class ImageLayout:
    """A data set of images in a folder.

    Attributes:
        name: Name of the caches, ``CACHE/<name>``.
        dataset: Name of the data set in commands.
        folder: The folder to which the paths of the files are relative.
        classes: Class names, by label.
        height: Rows.
        width: Columns.
        normalisation: Of the training images, as published networks use it.
        files: The files, in the order of the data set.
        tables: Other files that were read, such as class names, relative to the folder.
        form: Readable description of the files, such as ``the Python version``.
    """

    name: str
    dataset: str
    folder: Path
    classes: tuple[str, ...]
    height: int
    width: int
    normalisation: Normalisation
    files: tuple[ImageFile, ...]
    tables: tuple[str, ...] = ()
    form: str = ""
