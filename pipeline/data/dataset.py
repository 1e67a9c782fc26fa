"""A PyTorch data set of frames, for custom training loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pipeline.config.run_config import InputConfig
from pipeline.data.input_encoding import encode, normalisation_of, to_tensor
from preprocess.errors import ConfigError
from preprocess.store.frame_source import FrameSource


class FrameDataset(Dataset[tuple[torch.Tensor, int]]):
    """A map-style data set of (frames, label), for custom training loops and PyTorch's `DataLoader`.

    Frames are float32, shape (T, C, H, W), encoded as the network's input; an image is the same at each step. Works in
    forked and spawned workers, in threads and in Ray tasks: it is pickled by path, and each process opens the file when
    it first reads from it.
    """

    def __init__(
        self,
        frames: FrameSource,
        indices: Sequence[int] | NDArray[Any] | None = None,
        config: InputConfig | None = None,
    ) -> None:
        """Make a data set of some or all samples of a source.

        Args:
            frames: `preprocess.open_frames(path)`, `EventFrames`, or `RepeatedImages`.
            indices: Sample numbers, such as those of a split; all samples if None.
            config: How counts are encoded; if None, unchanged, and images directly.

        Raises:
            ConfigError: If the configuration changes the order of the time steps.
        """
        self.frames = frames
        self.indices = np.arange(len(frames)) if indices is None else np.asarray(indices, np.int64)
        self._normalisation = normalisation_of(frames)
        images = self._normalisation is not None
        self._config = config or InputConfig(encoding="direct" if images else "counts")
        if self._config.static != images:
            kind = "images" if images else "events"
            raise ConfigError(
                f"input.encoding: expected one for {kind}, found {self._config.encoding}. Images have direct, and only "
                "they."
            )
        if self._config.time_order != "as-is":
            raise ConfigError(
                f"input.time_order: expected as-is for a FrameDataset, found {self._config.time_order}. Change the "
                "order of the time steps in your training loop."
            )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of time steps of each sample before padding, int64 (N,)."""
        return self.frames.lengths[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, int]:
        i = int(self.indices[k])
        label = int(self.frames.samples.label[i])
        counts = self.frames.read(i)
        if self._normalisation is not None:
            # Encoded once; the time steps share the memory.
            image = encode(to_tensor(counts[:1])[:, None], self._config, self._normalisation)[0]
            return image.expand(len(counts), *image.shape[1:]), label
        return encode(to_tensor(counts)[:, None], self._config)[:, 0], label
