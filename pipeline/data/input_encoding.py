"""Convert event counts to the network's input: encoding and resizing, on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from pipeline.config.run_config import InputConfig


def input_size(config: InputConfig, height: int, width: int) -> tuple[int, int]:
    """Height and width of the network's input for frames of the given size."""
    return (height, width) if config.size is None else (config.size, config.size)


def encode(counts: torch.Tensor, config: InputConfig) -> torch.Tensor:
    """Encode and resize frames of event counts.

    Args:
        counts: Any integer type, shape (T, B, 2, H, W).
        config: Its `encoding`, `size` and `resize` are used.

    Returns:
        float32, shape (T, B, 2, size, size), or (T, B, 2, H, W) if no size is set.
    """
    if config.encoding == "pil-la":
        return _through_pillow(counts, config.size)
    frames = counts.float() if config.encoding == "counts" else (counts > 0).float()
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
