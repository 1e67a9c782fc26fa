"""Load batches of samples from a frame cache or event store onto the device; one thread reads ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.config.augmentation_names import (
    BATCH_AUGMENTATIONS,
    EVENT_AUGMENTATIONS,
    FRAME_AUGMENTATIONS,
    IMAGE_AUGMENTATIONS,
    parse_augmentation,
)
from pipeline.config.run_config import DatasetConfig, InputConfig
from pipeline.data.batch_augmentation import augment_batch
from pipeline.data.event_augmentation import augment_events
from pipeline.data.frame_augmentation import augment_frames
from pipeline.data.image_augmentation import augment_images
from pipeline.data.input_encoding import encode, normalisation_of
from pipeline.data.padding import step_mask
from pipeline.data.time_order import reorder_steps
from pipeline.runtime.distributed import Group, share_of
from preprocess.errors import ConfigError
from preprocess.interrupts import raise_if_stopped
from preprocess.store.frame_source import EventFrames, FrameSource
from preprocess.store.repeated_images import RepeatedImages

Transform = Callable[[torch.Tensor, NDArray[np.int64], torch.Tensor | None], torch.Tensor]
"""From counts (T, B, 2, H, W) or images (1, B, 3, H, W), the B sample numbers, and their lengths, to encoded frames of
the same T."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch on the device.

    Attributes:
        frames: Input of the network, float32, shape (T, B, C, H, W); for images, all T share the memory of one, so that
            layers can compute once what does not change (`pipeline.kernels.tensors.is_repeated`).
        labels: Class numbers, int64, shape (B,); that of the largest share where Mixup or CutMix mix samples.
        lengths: Number of time steps before padding, int64, shape (B,); None if there is no padding.
        shares: Share of each class, float32, shape (B, classes), with Mixup or CutMix, else None.
    """

    frames: torch.Tensor
    labels: torch.Tensor
    lengths: torch.Tensor | None = None
    shares: torch.Tensor | None = None

    @property
    def targets(self) -> torch.Tensor:
        """What the loss compares the logits to: the shares of the classes if samples are mixed, else the labels."""
        return self.labels if self.shares is None else self.shares

    @cached_property
    def mask(self) -> torch.Tensor | None:
        """True for time steps before padding, bool (T, B); None if there is no padding."""
        return None if self.lengths is None else step_mask(self.lengths, len(self.frames))


class FrameLoader:
    """Iterate over batches of some samples of a data set.

    One thread reads and decompresses the next batch while the network computes on the current one. A Python thread
    suffices, because decompression runs outside the GIL, and it avoids the problems of forked worker processes.
    """

    def __init__(
        self,
        frames: FrameSource,
        indices: NDArray[np.int64],
        batch_size: int,
        config: InputConfig,
        device: torch.device,
        *,
        seed: int | None = None,
        training: bool = False,
        keep_last: bool = False,
        augmentation: str = "none",
        mixup_alpha: float = DatasetConfig.mixup_alpha,
        mixing_epochs: int | None = None,
        group: Group | None = None,
    ) -> None:
        """Make a loader of batches on a device.

        Args:
            frames: Source of the frames.
            indices: Sample numbers.
            batch_size: B.
            config: How counts are converted to the network's input.
            device: Device of the batches.
            seed: Seed of the run, for shuffling, augmentation, and `input.time_order` shuffled.
            training: Whether samples are shuffled in every epoch. The order depends on the seed and the epoch only.
            keep_last: Whether training includes a last batch of fewer samples.
            augmentation: As `dataset.augmentation`; only for training. Augmentation of events requires `EventFrames`.
            mixup_alpha: As `dataset.mixup_alpha`.
            mixing_epochs: As `dataset.mixing_epochs`.
            group: Processes that share the samples. In training, each loads the same number of samples of every batch;
                otherwise, consecutive batches as one process would load them, possibly none.

        Raises:
            ValueError: If there is no seed for training, or augmentation outside training.
            ConfigError: If processes cannot share the last batch equally.
        """
        if training and seed is None:
            raise ValueError("expected a seed for a training loader, found none")
        if augmentation != "none" and not training:
            raise ValueError(f"expected augmentation only for a training loader, found {augmentation}")
        group = group or Group()
        if training and keep_last and (rest := len(indices) % batch_size) % group.size:
            raise ConfigError(
                f"keep_last: expected false, because the {group.size} processes that torchrun started cannot share the "
                f"last batch of {rest} samples equally, found true. Leave keep_last out, or start fewer processes."
            )
        self.indices = indices
        self.waited_s = 0.0
        self._frames = frames
        self.batch_size = batch_size
        self.group = group
        self._config = config
        self._device = device
        self._seed = seed
        self._training, self._keep_last = training, keep_last
        names = parse_augmentation(augmentation)

        def names_in(kind: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in names if name in kind)

        self._images = frames if isinstance(frames, RepeatedImages) else None
        self._image_augmentations = names_in(IMAGE_AUGMENTATIONS if self._images is not None else ())
        self._batch_augmentations = names_in(BATCH_AUGMENTATIONS)
        self._mixup_alpha, self._mixing_epochs = mixup_alpha, mixing_epochs
        self._frame_augmentations = names_in(FRAME_AUGMENTATIONS if self._images is None else ())
        self._event_augmentations = names_in(EVENT_AUGMENTATIONS)
        self._normalisation = normalisation_of(frames)
        self._labels = torch.from_numpy(frames.samples.label)
        self._lengths = torch.from_numpy(frames.lengths) if frames.binning.varies else None
        # Of images, one time step is read.
        self._stored_shape = frames.sample_shape if self._images is None else (1, *self._images.store.shape)
        most = share_of(batch_size, group) if training else batch_size
        self._counts = np.empty((most, *self._stored_shape), frames.dtype)
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._buffers = [self._new_buffer() for _ in range(2)]

    def _new_buffer(self) -> _Buffer:
        """A buffer for one batch, time first; in pinned memory for a GPU."""
        # PyTorch supports few operations on unsigned integers wider than 8 bits.
        steps, *frame = self._stored_shape
        source = self._frames.dtype
        dtype = {1: torch.uint8, 2: torch.int32}.get(source.itemsize, torch.int64)
        dtype = torch.float32 if source.kind == "f" else dtype
        return _Buffer((steps, len(self._counts), *frame), dtype, self._device, self._copies)

    @property
    def samples(self) -> int:
        """Number of samples that this process loads in an epoch."""
        return sum(len(batch) for batch in self._plan(0))

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._plan(0))

    def batches(self, epoch: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of an epoch; adds the seconds spent waiting for them to `waited_s`."""
        plan = self._plan(epoch)
        if not plan:
            return
        frames = self._source(epoch)
        transform = self._transform(epoch)
        with ThreadPoolExecutor(1, thread_name_prefix="frames") as reader:
            ahead = reader.submit(self._read, frames, plan[0], self._buffers[0], epoch)
            for number, indices in enumerate(plan):
                raise_if_stopped()
                start = time.perf_counter()
                counts = ahead.result()
                if number + 1 < len(plan):
                    # Use the other buffer, because this one may still be being copied to the device.
                    ahead = reader.submit(self._read, frames, plan[number + 1], self._buffers[(number + 1) % 2], epoch)
                steps = None if self._lengths is None else self._lengths[indices]
                sent, labels, lengths = self._buffers[number % 2].send(counts, self._labels[indices], steps)
                self.waited_s += time.perf_counter() - start
                inputs, shares = self._augmented_batch(transform(sent, indices, steps), labels, indices, epoch)
                yield Batch(inputs, labels if shares is None else shares.argmax(1), lengths, shares)

    def _source(self, epoch: int) -> FrameSource:
        """The frames of an epoch; the events are augmented before they are binned."""
        if not self._event_augmentations:
            return self._frames
        if not isinstance(self._frames, EventFrames):
            raise ValueError("expected EventFrames for augmentation of events, found another source of frames")
        assert self._seed is not None
        store = self._frames.store
        change = augment_events(self._event_augmentations[0], store.height, store.width, self._seed, epoch)
        return self._frames.changed(change)

    def _transform(self, epoch: int) -> Transform:
        """The function that converts the counts of a batch to the network's input in an epoch."""
        reorder = reorder_steps(self._config.time_order, self._seed, epoch if self._training else None)
        augment = None
        if self._frame_augmentations:
            assert self._seed is not None
            augment = augment_frames(self._frame_augmentations, self._seed, epoch)

        def transform(counts: torch.Tensor, samples: NDArray[np.int64], lengths: torch.Tensor | None) -> torch.Tensor:
            frames = encode(reorder(counts, samples, lengths), self._config, self._normalisation)
            return frames if augment is None else augment(frames, samples)

        return transform

    def _augmented_batch(
        self, frames: torch.Tensor, labels: torch.Tensor, samples: NDArray[np.int64], epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Augment a batch of encoded images and repeat them at each time step; frames of events stay as they are.

        Returns the input of the network and, if samples are mixed, the shares of the classes.
        """
        if self._images is None:
            return frames, None
        shares = None
        if self._batch_augmentations:
            assert self._seed is not None
            names = self._batch_augmentations
            if self._mixing_epochs is not None and epoch > self._mixing_epochs:
                names = tuple(name for name in names if name not in ("mixup", "cutmix"))
            augment = augment_batch(names, len(self._images.classes), self._seed, epoch, self._mixup_alpha)
            images, shares = augment(frames[0], labels, samples)
            frames = images[None]
        return frames.expand(self._images.timesteps, *frames.shape[1:]), shares

    def _plan(self, epoch: int) -> list[NDArray[np.int64]]:
        """The sample numbers of each batch of an epoch that this process loads."""
        order = self.indices
        if self._training:
            assert self._seed is not None
            order = np.random.default_rng([self._seed, epoch]).permutation(order)
        size = self.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        if self._training and not self._keep_last and len(batches[-1]) < size:
            batches.pop()
        if self._training:
            return [batch[self.group.rank :: self.group.size] for batch in batches]
        return batches[self.first_batch : self._first_batch_of(self.group.rank + 1)]

    @property
    def first_batch(self) -> int:
        """How many batches of an epoch, outside training, the processes before this one load."""
        return self._first_batch_of(self.group.rank)

    def _first_batch_of(self, rank: int) -> int:
        return rank * -(-len(self.indices) // self.batch_size) // self.group.size

    def _read(self, frames: FrameSource, indices: NDArray[np.int64], buffer: _Buffer, epoch: int) -> torch.Tensor:
        """Read counts into a buffer, time first, shape (T, B, 2, H, W); every second batch reuses the same buffer.

        Images have shape (1, B, 3, H, W), and are augmented here, while the network computes.
        """
        if self._images is None:
            counts = frames.read_batch(indices, self._counts[: len(indices)]).swapaxes(0, 1)
        else:
            images = self._images.read_images(indices, self._counts[: len(indices), 0])
            counts = self._augmented(images, indices, epoch)[None]
        buffer.wait()
        out = buffer.counts[:, : len(indices)]
        np.copyto(out.numpy(), counts, casting="unsafe")
        return out

    def _augmented(self, images: NDArray[np.uint8], indices: NDArray[np.int64], epoch: int) -> NDArray[np.uint8]:
        if not self._image_augmentations:
            return images
        assert self._seed is not None
        assert self._images is not None
        augment = augment_images(self._image_augmentations, self._seed, epoch, self._images.store.mean)
        return augment(images, indices)


class _Buffer:
    """Memory that is reused for batches, and their way to the device.

    For a GPU it is pinned, and copies have a stream of their own, so that they run while the GPU computes on earlier
    batches, and the host waits for nothing. A copy from memory that is not pinned, even of a few labels, may make the
    host wait for all queued work.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, copies: torch.cuda.Stream | None
    ) -> None:
        pinned = copies is not None
        self.counts = torch.empty(shape, dtype=dtype, pin_memory=pinned)
        self._numbers = torch.empty((2, shape[1]), dtype=torch.int64, pin_memory=pinned)
        self._device, self._copies = device, copies
        self._copied: torch.cuda.Event | None = None

    def send(
        self, counts: torch.Tensor, labels: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The batch on the device; what computes on it there starts after the copy.

        Args:
            counts: A part of `self.counts`, in which they were read.
            labels: int64 (B,).
            lengths: int64 (B,), or None.
        """
        if self._copies is None:
            return (
                counts.to(self._device),
                labels.to(self._device),
                None if lengths is None else lengths.to(self._device),
            )
        numbers = self._numbers[: 1 if lengths is None else 2, : len(labels)]
        numbers[0] = labels
        if lengths is not None:
            numbers[1] = lengths
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copies):
            sent = [part.to(self._device, non_blocking=True) for part in (counts, *numbers)]
            self._copied = torch.cuda.Event()
            self._copied.record()
        computing.wait_stream(self._copies)
        for tensor in sent:
            # The allocator gives the memory to another batch only after the computation on it.
            tensor.record_stream(computing)
        return sent[0], sent[1], None if lengths is None else sent[2]

    def wait(self) -> None:
        """Wait until the copy to the device is complete."""
        if self._copied is not None:
            self._copied.synchronize()
