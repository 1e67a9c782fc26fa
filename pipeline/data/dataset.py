"""A frame cache as a data set of PyTorch, for training loops of your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pipeline.config.run_config import InputConfig
from pipeline.data.encoding import encode
from preprocess.errors import ConfigError
from preprocess.store.frame_source import FrameSource


class FrameDataset(Dataset[tuple[torch.Tensor, int]]):
    """Samples one by one, (frames, label), for users' own loops and torch's `DataLoader`.

    Frames are float32, shape (T, 2, H, W), as they enter the network. Works in forked and spawned workers, in threads
    and in Ray tasks: it pickles by path, and each process opens the file when it first reads.
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
            indices: Which samples, such as those of a split; all where None.
            config: How counts become the network's input; as they are where None.

        Raises:
            ConfigError: If it changes the order of time.
        """
        self.frames = frames
        self.indices = np.arange(len(frames)) if indices is None else np.asarray(indices, np.int64)
        self._config = config or InputConfig()
        if self._config.time_order != "as-is":
            raise ConfigError(
                f"input.time_order: expected as-is for samples one by one, found {self._config.time_order}. Change the "
                "order in your own loop"
            )

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Frames that each sample fills before padding, int64 (N,)."""
        return self.frames.lengths[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, int]:
        i = int(self.indices[k])
        counts = torch.from_numpy(self.frames.read(i).astype(np.int64))
        return encode(counts[:, None], self._config)[:, 0], int(self.frames.samples.label[i])
