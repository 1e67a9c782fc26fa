"""Batches: a run's samples, from frame cache or event store to the device that trains, read ahead by one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pipeline.augmentation import augment_events
from pipeline.augmentation_names import EVENT_AUGMENTATIONS, FRAME_AUGMENTATIONS, parse_augmentation
from pipeline.config import InputConfig, RunConfig
from pipeline.distributed import Group, share_of
from pipeline.frame_augmentation import augment_frames
from pipeline.inputs import encode, input_size
from pipeline.padding import step_mask
from pipeline.time_order import reorder_steps
from preprocess.build_frames import ensure_frames
from preprocess.copied_cache import open_copied
from preprocess.errors import ConfigError
from preprocess.event_store import events_path, open_events
from preprocess.frame_cache import open_frames
from preprocess.frame_source import EventFrames, FrameSource
from preprocess.interrupts import raise_if_stopped
from preprocess.progress import Progress
from preprocess.splits import Splits, split_samples


@dataclass(frozen=True, eq=False)
class RunData:
    """What a configuration reads.

    Attributes:
        frames: The frame cache of its binning, or its event store's frames.
        splits: Sample numbers that train, validate and test.
        size: Height and width of what enters the network.
    """

    frames: FrameSource
    splits: Splits
    size: tuple[int, int]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.frames.classes

    @property
    def emulated(self) -> bool:
        """Whether an emulator made the recordings; tables and reports say so."""
        return self.frames.dataset.startswith("emulated-")


def open_data(
    config: RunConfig, cache: Path, progress: Progress | None = None, *, needs_test: bool = True
) -> RunData:
    """Open what a configuration reads, and cut its splits; a frame cache is made where one is asked for and missing.

    Args:
        config: Of the run.
        cache: The folder of all caches.
        progress: Where to tell how far a frame cache is.
        needs_test: Whether a data set without a test split is refused.

    Raises:
        CacheError: If there is no event store, with the command that makes it.
        ConfigError: If the split does not exist for the data set, or a batch is larger than the training set.
    """
    dataset = config.dataset
    frames = _open_frames(config, cache, progress)
    splits = split_samples(
        frames.samples,
        dataset.name,
        dataset.split,
        dataset.validation_fraction,
        config.selection,
        frames.classes,
        needs_test=needs_test or config.selection == "paper",
    )
    if config.batch_size > len(splits.train):
        raise ConfigError(
            f"batch_size: expected at most the {len(splits.train)} training samples of {dataset.name}, "
            f"found {config.batch_size}"
        )
    return RunData(frames, splits, input_size(config.input, frames.height, frames.width))


def _open_frames(config: RunConfig, cache: Path, progress: Progress | None) -> FrameSource:
    name = config.dataset.name
    if config.input.source == "events":
        return EventFrames(open_events(events_path(cache, name)), config.binning, progress=progress)
    copied = open_copied(cache, name, config.binning)
    return copied or open_frames(ensure_frames(cache, name, config.binning, progress=progress))


@dataclass(frozen=True, eq=False)
class Batch:
    """Attributes:
    frames: What enters the network, float32, shape (T, B, 2, H, W), on the device.
    labels: Class numbers, int64, shape (B,), on the device.
    lengths: Steps that hold frames, int64, shape (B,), on the device; None where all do.
    """

    frames: torch.Tensor
    labels: torch.Tensor
    lengths: torch.Tensor | None = None

    @cached_property
    def mask(self) -> torch.Tensor | None:
        """Which steps hold frames, bool (T, B); None where all do."""
        return None if self.lengths is None else step_mask(self.lengths, len(self.frames))


class FrameLoader:
    """Batches of some of a cache's samples.

    One thread reads and decompresses the next batch while the network works on this one; Python's threads suffice,
    because decompression runs outside the GIL, and they have none of the faults of forked workers.
    """

    def __init__(
        self,
        frames: FrameSource,
        indices: NDArray[np.int64],
        batch_size: int,
        config: InputConfig,
        device: torch.device,
        *,
        shuffle_seed: int | None = None,
        augmentation: str = "none",
        seed: int | None = None,
        group: Group | None = None,
    ) -> None:
        """
        Args:
            frames: Where samples come from.
            indices: Which samples.
            batch_size: B; a training loader drops a last batch that is not full, as the paper's code does.
            config: How counts become the network's input.
            device: Where batches go.
            shuffle_seed: Draws another order each epoch, which no other setting changes; None keeps the order.
            augmentation: As `dataset.augmentation`; other than none there is a seed, and `frames` are `EventFrames`
                where it changes events.
            seed: Of the run, for what is drawn outside training too: `input.time_order` shuffled; `shuffle_seed` where
                None.
            group: Processes that share each batch; this one takes every so manieth of its samples.
        """
        group = group or Group()
        self.indices = indices
        self.waited_s = 0.0
        self._frames = frames
        self._batch_size = batch_size
        self._config = config
        self._device = device
        self._shuffle_seed = shuffle_seed
        self._seed = shuffle_seed if seed is None else seed
        names = parse_augmentation(augmentation)
        self._of_frames = [name for name in names if name in FRAME_AUGMENTATIONS]
        self._of_events = [name for name in names if name in EVENT_AUGMENTATIONS]
        self._group = group
        self._labels = torch.from_numpy(frames.samples.label)
        self._lengths = torch.from_numpy(frames.lengths) if frames.binning.varies else None
        self._counts = np.empty((share_of(batch_size, group), *frames.sample_shape), frames.dtype)
        self._buffers = [self._new_buffer() for _ in range(2)]

    def _new_buffer(self) -> _Buffer:
        """Room for a batch, time first, in memory that a GPU can fetch by itself."""
        # Torch computes with few unsigned types.
        steps, *frame = self._frames.sample_shape
        dtype = {1: torch.uint8, 2: torch.int32}.get(self._frames.dtype.itemsize, torch.int64)
        pinned = self._device.type == "cuda"
        return _Buffer(torch.empty((steps, len(self._counts), *frame), dtype=dtype, pin_memory=pinned))

    @property
    def samples(self) -> int:
        """How many samples an epoch has, of this process."""
        return sum(len(batch) for batch in self._plan(0))

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return len(self._plan(0))

    def batches(self, epoch: int = 0) -> Iterator[Batch]:
        """The batches of one epoch; adds to `waited_s` the seconds that the network waits for them."""
        plan = self._plan(epoch)
        frames = self._frames_of(epoch)
        change = self._change_of(epoch)
        reorder = reorder_steps(self._config.time_order, self._seed, None if self._shuffle_seed is None else epoch)
        with ThreadPoolExecutor(1, thread_name_prefix="frames") as reader:
            ahead = reader.submit(self._read, frames, plan[0], self._buffers[0])
            for number, indices in enumerate(plan):
                raise_if_stopped()
                start = time.perf_counter()
                counts = ahead.result()
                if number + 1 < len(plan):
                    # The other buffer: this batch's may still be on its way to the device.
                    ahead = reader.submit(self._read, frames, plan[number + 1], self._buffers[(number + 1) % 2])
                sent = self._send(counts)
                self._buffers[number % 2].mark(self._device)
                labels = self._send(self._labels[indices])
                steps = None if self._lengths is None else self._lengths[indices]
                lengths = None if steps is None else self._send(steps)
                self.waited_s += time.perf_counter() - start
                yield Batch(change(encode(reorder(sent, indices, steps), self._config), indices), labels, lengths)

    def _send(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._device, non_blocking=True)

    def _frames_of(self, epoch: int) -> FrameSource:
        if not self._of_events:
            return self._frames
        if not isinstance(self._frames, EventFrames) or self._shuffle_seed is None:
            raise ValueError("augmentation needs events and a seed")
        store = self._frames.store
        change = augment_events(self._of_events[0], store.height, store.width, self._shuffle_seed, epoch)
        return self._frames.changed(change)

    def _change_of(self, epoch: int) -> Callable[[torch.Tensor, NDArray[np.int64]], torch.Tensor]:
        if not self._of_frames:
            return lambda frames, _: frames
        if self._shuffle_seed is None:
            raise ValueError("augmentation needs a seed")
        return augment_frames(self._of_frames, self._shuffle_seed, epoch)

    def _plan(self, epoch: int) -> list[NDArray[np.int64]]:
        order = self.indices
        if self._shuffle_seed is not None:
            order = np.random.default_rng([self._shuffle_seed, epoch]).permutation(order)
        size = self._batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        if self._shuffle_seed is not None and len(batches[-1]) < size:
            batches.pop()
        return [batch[self._group.rank :: self._group.size] for batch in batches]

    def _read(self, frames: FrameSource, indices: NDArray[np.int64], buffer: _Buffer) -> torch.Tensor:
        """Counts, time first, shape (T, B, 2, H, W), in a buffer that the batch after the next takes again."""
        counts = frames.read_batch(indices, self._counts[: len(indices)]).swapaxes(0, 1)
        buffer.wait()
        out = buffer.counts[:, : len(indices)]
        np.copyto(out.numpy(), counts, casting="unsafe")
        return out


class _Buffer:
    """Memory that batches take turns in."""

    def __init__(self, counts: torch.Tensor) -> None:
        self.counts = counts
        self._fetched: torch.cuda.Event | None = None

    def mark(self, device: torch.device) -> None:
        """Note that a copy to the device was begun."""
        if device.type == "cuda":
            self._fetched = torch.cuda.Event()
            self._fetched.record()

    def wait(self) -> None:
        """Until the copy has left this memory."""
        if self._fetched is not None:
            self._fetched.synchronize()


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
