"""Batches: a run's samples, from frame cache or event store to the device that trains, read ahead by one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config.augmentation_names import EVENT_AUGMENTATIONS, FRAME_AUGMENTATIONS, parse_augmentation
from pipeline.config.run_config import InputConfig
from pipeline.data.encoding import encode
from pipeline.data.event_augmentation import augment_events
from pipeline.data.frame_augmentation import augment_frames
from pipeline.data.padding import step_mask
from pipeline.data.time_order import reorder_steps
from pipeline.runtime.distributed import Group, share_of
from preprocess.interrupts import raise_if_stopped
from preprocess.store.frame_source import EventFrames, FrameSource


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
