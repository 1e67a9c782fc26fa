"""Batches: a run's samples, from the frame cache to the device that trains, read ahead by one thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config import InputConfig, RunConfig
from pipeline.inputs import encode, input_size
from preprocess.build_frames import ensure_frames
from preprocess.errors import ConfigError
from preprocess.frame_cache import FrameCache, open_frames
from preprocess.progress import Progress
from preprocess.splits import Splits, split_samples


@dataclass(frozen=True, eq=False)
class RunData:
    """What a configuration reads.

    Attributes:
        frames: The frame cache of its binning.
        splits: Sample numbers that train, validate and test.
        size: Height and width of what enters the network.
    """

    frames: FrameCache
    splits: Splits
    size: tuple[int, int]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.frames.classes

    @property
    def emulated(self) -> bool:
        """Whether an emulator made the recordings; tables and reports say so."""
        return self.frames.dataset.startswith("emulated-")


def open_data(config: RunConfig, cache: Path, progress: Progress | None = None) -> RunData:
    """Open a configuration's frame cache, made from the event store where it is missing, and cut its splits.

    Raises:
        CacheError: If there is no event store, with the command that makes it.
        ConfigError: If the split does not exist for the data set, or a batch is larger than the training set.
    """
    frames = open_frames(ensure_frames(cache, config.dataset.name, config.binning, progress=progress))
    dataset = config.dataset
    splits = split_samples(frames.samples, dataset.name, dataset.split, dataset.validation_fraction, config.selection)
    if config.batch_size > len(splits.train):
        raise ConfigError(
            f"batch_size: expected at most the {len(splits.train)} training samples of {dataset.name}, "
            f"found {config.batch_size}"
        )
    return RunData(frames, splits, input_size(config.input, frames.height, frames.width))


@dataclass(frozen=True, eq=False)
class Batch:
    """Attributes:
    frames: What enters the network, float32, shape (T, B, 2, H, W), on the device.
    labels: Class numbers, int64, shape (B,), on the device.
    """

    frames: torch.Tensor
    labels: torch.Tensor


class FrameLoader:
    """Batches of some of a cache's samples.

    One thread reads and decompresses the next batch while the network works on this one; Python's threads suffice,
    because decompression runs outside the GIL, and they have none of the faults of forked workers.
    """

    def __init__(
        self,
        frames: FrameCache,
        indices: NDArray[np.int64],
        batch_size: int,
        config: InputConfig,
        device: torch.device,
        *,
        shuffle_seed: int | None = None,
    ) -> None:
        """
        Args:
            frames: Where samples come from.
            indices: Which samples.
            batch_size: B; a training loader drops a last batch that is not full, as the paper's code does.
            config: How counts become the network's input.
            device: Where batches go.
            shuffle_seed: Draws another order each epoch, which no other setting changes; None keeps the order.
        """
        self.indices = indices
        self.waited_s = 0.0
        self._frames = frames
        self._batch_size = batch_size
        self._config = config
        self._device = device
        self._shuffle_seed = shuffle_seed
        self._labels = torch.from_numpy(frames.samples.label)
        self._buffer = np.empty((batch_size, *frames.sample_shape), frames.dtype)

    @property
    def samples(self) -> int:
        """How many samples an epoch has."""
        return sum(len(batch) for batch in self._plan(0))

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return len(self._plan(0))

    def batches(self, epoch: int = 0) -> Iterator[Batch]:
        """The batches of one epoch; adds to `waited_s` the seconds that the network waits for them."""
        plan = self._plan(epoch)
        with ThreadPoolExecutor(1, thread_name_prefix="frames") as reader:
            ahead = reader.submit(self._read, plan[0])
            for number, indices in enumerate(plan):
                start = time.perf_counter()
                counts = ahead.result()
                if number + 1 < len(plan):
                    ahead = reader.submit(self._read, plan[number + 1])
                labels = self._labels[indices].to(self._device, non_blocking=True)
                self.waited_s += time.perf_counter() - start
                yield Batch(encode(counts.to(self._device, non_blocking=True), self._config), labels)

    def _plan(self, epoch: int) -> list[NDArray[np.int64]]:
        order = self.indices
        if self._shuffle_seed is not None:
            order = np.random.default_rng([self._shuffle_seed, epoch]).permutation(order)
        size = self._batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        if self._shuffle_seed is not None and len(batches[-1]) < size:
            batches.pop()
        return batches

    def _read(self, indices: NDArray[np.int64]) -> torch.Tensor:
        """Counts, time first, shape (T, B, 2, H, W), in memory that a GPU can fetch by itself."""
        counts = self._frames.read_batch(indices, self._buffer[: len(indices)]).swapaxes(0, 1)
        # Torch computes with few unsigned types.
        dtype: Any = {1: np.uint8, 2: np.int32}.get(counts.dtype.itemsize, np.int64)
        out = torch.empty(
            counts.shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, pin_memory=self._device.type == "cuda"
        )
        np.copyto(out.numpy(), counts, casting="unsafe")
        return out
