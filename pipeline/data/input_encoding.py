"""Convert event counts or images to the network's input: polarity, encoding and resizing, on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.config.run_config import InputConfig
from pipeline.data.on_device import on_device
from preprocess.datasets.images.image_layout import Normalisation
from preprocess.store.frame_source import FrameSource
from preprocess.store.repeated_images import RepeatedImages


def input_size(config: InputConfig, height: int, width: int) -> tuple[int, int]:
    """Height and width of the network's input for frames of the given size."""
    return (height, width) if config.size is None else (config.size, config.size)


def to_tensor(frames: NDArray[Any]) -> torch.Tensor:
    """Frames of any source in a type that torch supports well: int64, or float32 if they are not counts."""
    return torch.from_numpy(frames.astype(np.float32 if frames.dtype.kind == "f" else np.int64))


def normalisation_of(frames: FrameSource) -> Normalisation | None:
    """Mean and standard deviation of the channels of images; None for frames of events."""
    if not isinstance(frames, RepeatedImages):
        return None
    return Normalisation(frames.store.mean, frames.store.deviation)


def encode(counts: torch.Tensor, config: InputConfig, normalisation: Normalisation | None = None) -> torch.Tensor:
    """Encode and resize frames of event counts, or images.

    Args:
        counts: Any integer type, or float32 for imported frames, shape (T, B, 2, H, W); for images (T, B, 3, H, W) with
            values from 0 to 255.
        config: Its `polarity`, `encoding`, `size` and `resize` are used.
        normalisation: Of images; required for them.

    Returns:
        float32, shape (T, B, C, size, size), or (T, B, C, H, W) if no size is set, with C = `config.channels`.
    """
    if config.encoding == "pil-la":
        return _through_pillow(counts, config.size)
    if config.static:
        if normalisation is None:
            raise ValueError("expected the mean and standard deviation of images, found none")
        frames = _normalised(counts, normalisation)
    else:
        chosen = _channels_of(counts, config.polarity)
        # A copy, because the memory of a batch of floating-point frames is used again.
        frames = (chosen if config.encoding == "counts" else chosen > 0).to(torch.float32, copy=True)
    if config.size is None or tuple(frames.shape[-2:]) == (config.size, config.size):
        return frames
    flat = frames.flatten(0, 1)
    size = (config.size, config.size)
    if config.resize == "nearest":
        resized = functional.interpolate(flat, size, mode="nearest")
    else:
        antialias = config.resize == "bilinear-antialias"
        resized = functional.interpolate(flat, size, mode="bilinear", align_corners=False, antialias=antialias)
    return resized.unflatten(0, frames.shape[:2])


def _normalised(images: torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
    """Images (..., 3, H, W) from 0 to 255 as float32: scaled to 0 to 1, less the mean, divided by the deviation."""
    scaled = images.to(torch.float32) / 255
    mean, deviation = (
        on_device(np.array(values, np.float32), images.device)[:, None, None] for values in normalisation
    )
    return scaled.sub_(mean).div_(deviation)


def _channels_of(counts: torch.Tensor, polarity: str) -> torch.Tensor:
    """The counts of these polarities: OFF is channel 0, ON is channel 1."""
    if polarity == "merged":
        # As float32, which is exact up to 2^24 events: the sum of two bytes does not fit in one.
        return counts[:, :, :1].float() + counts[:, :, 1:]
    if polarity == "split":
        return counts
    return counts[:, :, 1:] if polarity == "on" else counts[:, :, :1]


def _through_pillow(counts: torch.Tensor, size: int | None) -> torch.Tensor:
    """Encode as in the CLIF authors' CIFAR10-DVS loader: 8-bit images with OFF events as grey and ON events as alpha.

    A count n > 0 becomes the byte 256 - n, because 255 * n wraps around. Pillow resizes with antialiasing and weights
    grey by alpha, so OFF events disappear where there are no ON events.
    """
    from PIL import Image

    images = (counts.cpu().numpy().astype(np.int64) * 255).astype(np.uint8).reshape(-1, 2, *counts.shape[-2:])
    size = size or counts.shape[-1]
    out = np.empty((len(images), size, size, 2), np.uint8)
    for k, image in enumerate(images):
        pillow = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)), "LA")
        out[k] = np.asarray(pillow.resize((size, size), Image.Resampling.BILINEAR))
    frames = torch.from_numpy(out.transpose(0, 3, 1, 2).copy()).to(counts.device).float() / 255
    return frames.unflatten(0, counts.shape[:2])
