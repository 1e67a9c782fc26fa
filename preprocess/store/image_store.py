"""The image store: all images of a data set of static images, in one HDF5 file, ``CACHE/<name>/images.h5``.

/images        uint8, shape (N, 3, H, W): red, green, blue; a chunk per image
/samples/...   the event store's `SampleTable`; an image counts as 3 * H * W values in place of events
/sources/...   the files that it was made from

It has no time steps: training repeats an image at each of them (`preprocess.store.repeated_images`).
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.store.cache_file_names import events_path, image_store_in, images_path
from preprocess.store.chunk_compression import FRAMES, ChunkReader, Packed, check_stored, create, pack, write
from preprocess.store.sample_table import SampleTable
from preprocess.store.sealed_cache_file import READ_WITH, CacheFile, seal

FORMAT = "spikeloom-images"
VERSION = 1
CHANNELS = 3


def open_images(path: Path | str) -> ImageStore:
    """Open an image store, ``CACHE/<name>/images.h5``, or the only one in a folder.

    `RepeatedImages` makes frames of it, for any T.

    Raises:
        CacheError: If it is missing, damaged or of another format, or a folder contains several.
        CacheMismatchError: If another version of the format wrote it.
    """
    return ImageStore(image_store_in(Path(path)))


def find_images(cache: Path, name: str) -> Path | None:
    """The path of a data set's image store; None if there is none, or the data set has an event store."""
    path = images_path(cache, name)
    try:
        return path if path.is_file() and not events_path(cache, name).exists() else None
    except OSError:
        # A folder without permissions, of which opening an event store in it says more.
        return None


def image_crc32(image: NDArray[np.uint8]) -> int:
    """The checksum of an image, uint8 (3, H, W)."""
    return zlib.crc32(np.ascontiguousarray(image).data)


class ImageStore(CacheFile):
    """Images, read one or many at a time.

    Attributes:
        mean: Mean of each channel over the training images, on a scale from 0 to 1.
        deviation: Standard deviation of each channel.
        height: Rows.
        width: Columns.
        fingerprint: Of the files, and of how they became samples.
    """

    FORMAT: ClassVar[str] = FORMAT
    VERSION: ClassVar[int] = VERSION
    KIND: ClassVar[str] = "an image store"

    def _read_description(self, file: h5py.File) -> None:
        super()._read_description(file)
        for name in ("source", "layout_digest"):
            self._attribute(name, str)
        self.mean, self.deviation = (_three(self._attribute(name, list[float])) for name in ("mean", "deviation"))
        check_stored(file["images"], (len(self.samples), *self.shape), "u", (1, *self.shape))
        if file["images"].dtype != np.uint8:
            raise ValueError(f"/images has type {file['images'].dtype}")
        if not all(map(math.isfinite, (*self.mean, *self.deviation))) or min(self.deviation) <= 0:
            raise ValueError(f"a mean of {self.mean} and a deviation of {self.deviation}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W)."""
        return CHANNELS, self.height, self.width

    def _readers(self, file: h5py.File) -> ChunkReader:
        return ChunkReader(file["images"])

    def read(self, i: int, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Image i, uint8 (3, H, W).

        Args:
            i: 0 .. N - 1.
            out: Where to put it: contiguous, of this shape and type; a new array if None.

        Raises:
            CacheError: If a byte of it changed since it was written.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path}: expected a sample number below {len(self)}, found {i}")
        if out is None:
            out = np.empty(self.shape, np.uint8)
        elif out.shape != self.shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"expected a contiguous uint8 buffer of shape {self.shape}")
        reader = self._handle()
        try:
            reader.read((i, 0, 0, 0), out[None])
        except (OSError, ValueError, RuntimeError) as error:
            raise self._damaged(i, error) from None
        return out

    @property
    def remedy(self) -> str:
        """The next step for the user if the file is damaged."""
        return self._repair()


def _three(values: Any) -> tuple[float, float, float]:
    """The values of the three channels; ValueError or TypeError if they are not."""
    red, green, blue = map(float, values)
    return red, green, blue


def create_images(file: h5py.File, samples: SampleTable, attributes: dict[str, Any]) -> h5py.Dataset:
    """Create an empty image store with its table and attributes, which include height and width."""
    seal(file, samples, {"format": FORMAT, "version": VERSION, "read_with": READ_WITH} | attributes)
    shape = CHANNELS, attributes["height"], attributes["width"]
    return create(file, "images", (len(samples), *shape), np.uint8, (1, *shape), FRAMES)


def pack_image(image: NDArray[np.uint8]) -> Packed:
    """Compress an image, uint8 (3, H, W)."""
    return pack(image[None], FRAMES, (1, *image.shape))


def write_image(dataset: h5py.Dataset, i: int, packed: Packed) -> None:
    """Write image i."""
    write(dataset, (i, 0, 0, 0), packed)
