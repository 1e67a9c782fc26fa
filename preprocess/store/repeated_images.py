"""Static images as a source of frames: the image at each of T time steps, which is called direct encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.binning.binning_config import Binning
from preprocess.store.image_store import ImageStore
from preprocess.store.sample_table import SampleTable


class RepeatedImages:
    """An image store with a number of time steps; T is not in the store, so that any T uses the same file.

    It implements `FrameSource`, with three channels in place of two polarities, and values from 0 to 255 in place of
    counts. An object may be pickled, forked with, and shared by threads, as the store may.
    """

    def __init__(self, store: ImageStore, timesteps: int) -> None:
        """Bind a store to a number of time steps.

        Args:
            store: The images.
            timesteps: T, at least 1.

        Raises:
            ConfigError: If T is less than 1.
        """
        self.store = store
        self.binning = Binning(timesteps)
        self.binning.check()
        self.timesteps = timesteps
        self.path, self.dataset, self.classes = store.path, store.dataset, store.classes
        self.fingerprint = store.fingerprint
        self.height, self.width = store.height, store.width
        self.lengths = np.full(len(store), timesteps, np.int64)
        self.dtype: np.dtype[Any] = np.dtype(np.uint8)

    @property
    def samples(self) -> SampleTable:
        """The sample table."""
        return self.store.samples

    @property
    def sample_shape(self) -> tuple[int, int, int, int]:
        """(T, 3, H, W)."""
        return self.timesteps, *self.store.shape

    def __len__(self) -> int:
        return len(self.store)

    def read(self, i: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Image i at each time step, shape (T, 3, H, W): a read-only view of one image, unless `out` is given."""
        if out is None:
            return np.broadcast_to(self.store.read(i), self.sample_shape)
        out[...] = self.store.read(i)
        return out

    def read_batch(self, indices: Sequence[int] | NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Several images at each time step, shape (B, T, 3, H, W): a read-only view, unless `out` is given."""
        if out is None:
            images = self.read_images(indices)
            return np.broadcast_to(images[:, None], (len(images), *self.sample_shape))
        if len(out) != len(indices):
            raise ValueError(f"expected a buffer for {len(indices)} samples, found one for {len(out)}")
        for row, i in zip(out, indices, strict=True):
            self.read(int(i), row)
        return out

    def read_images(
        self, indices: Sequence[int] | NDArray[Any], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Several images without time steps, uint8 (B, 3, H, W), written to `out` if given."""
        if out is None:
            out = np.empty((len(indices), *self.store.shape), np.uint8)
        for row, i in zip(out, indices, strict=True):
            self.store.read(int(i), row)
        return out

    def close(self) -> None:
        """Close this process's file; the next read opens it again."""
        self.store.close()
