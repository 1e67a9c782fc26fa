"""A PyTorch data set of frames, for custom training loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pipeline.config.run_config import InputConfig
from pipeline.data.input_encoding import encode
from preprocess.errors import ConfigError
from preprocess.store.frame_source import FrameSource


class FrameDataset(Dataset[tuple[torch.Tensor, int]]):
    """A map-style data set of (frames, label), for custom training loops and PyTorch's `DataLoader`.

    Frames are float32, shape (T, 2, H, W), encoded as the network's input. Works in forked and spawned workers, in
    threads and in Ray tasks: it is pickled by path, and each process opens the file when it first reads from it.
    """

    def __init__(
        self,
        frames: FrameSource,
        indices: Sequence[int] | NDArray[Any] | None = None,
        config: InputConfig | None = None,
    ) -> None:
        """
        Args:
            frames: `preprocess.open_frames(path)`, or `EventFrames`.
            indices: Sample numbers, such as those of a split; all samples if None.
            config: How counts are encoded; unchanged if None.

        Raises:
            ConfigError: If the configuration changes the order of the time steps.
        """
        self.frames = frames
        self.indices = np.arange(len(frames)) if indices is None else np.asarray(indices, np.int64)
        self._config = config or InputConfig()
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
        counts = torch.from_numpy(self.frames.read(i).astype(np.int64))
        return encode(counts[:, None], self._config)[:, 0], int(self.frames.samples.label[i])
