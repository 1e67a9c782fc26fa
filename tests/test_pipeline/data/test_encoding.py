"""What enters the network equals torchvision's and Pillow's ways of resizing and encoding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.config.run_config import InputConfig
from pipeline.data.input_encoding import encode, input_size

COUNTS = torch.from_numpy(np.random.default_rng(0).poisson(0.5, (3, 2, 2, 16, 16)).astype(np.uint8))


def test_counts_enter_unscaled_and_binary_as_presence():
    counts = encode(COUNTS, InputConfig())
    assert counts.dtype == torch.float32 and torch.equal(counts, COUNTS.float())
    assert torch.equal(encode(COUNTS, InputConfig(encoding="binary")), (COUNTS > 0).float())


@pytest.mark.parametrize("resize", ["bilinear", "bilinear-antialias", "nearest"])
def test_resizing_equals_torchvisions(resize: str):
    from torchvision.transforms import functional

    mode = functional.InterpolationMode.NEAREST if resize == "nearest" else functional.InterpolationMode.BILINEAR
    flat = COUNTS.float().flatten(0, 1)
    expected = functional.resize(flat, [6, 6], mode, antialias=resize == "bilinear-antialias")
    found = encode(COUNTS, InputConfig(size=6, resize=resize))
    assert found.shape == (3, 2, 2, 6, 6)
    torch.testing.assert_close(found.flatten(0, 1), expected)


def test_the_released_loaders_way_equals_torchvision_on_pil_images():
    from torchvision import transforms

    found = encode(COUNTS, InputConfig(size=6, encoding="pil-la"))
    way = transforms.Compose([transforms.ToPILImage(), transforms.Resize(6), transforms.ToTensor()])
    for image, expected in zip(found.flatten(0, 1), COUNTS.float().flatten(0, 1), strict=True):
        torch.testing.assert_close(image, way(expected), rtol=0, atol=0)


def test_off_events_vanish_where_there_are_no_on_events_in_the_released_way():
    counts = torch.zeros(1, 1, 2, 8, 8, dtype=torch.uint8)
    counts[:, :, 0] = 3
    assert encode(counts, InputConfig(size=4, encoding="pil-la")).sum() == 0
    assert encode(counts, InputConfig(size=4)).sum() > 0


def test_size_is_the_frames_own_unless_set():
    assert input_size(InputConfig(), 34, 30) == (34, 30)
    assert input_size(InputConfig(size=48), 34, 30) == (48, 48)
