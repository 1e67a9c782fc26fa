"""Strided 1x1 convolutions of few channels on the CPU, whose gradients oneDNN gets wrong in channels-last memory."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pipeline.layers.blocks import SpikingBlock


class Shortcut(SpikingBlock):
    """A block whose convolutions get channels-last memory, as those with fused neurons do."""

    takes_norm = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 1, stride=2)
        self.lay_out()


def shortcut_block(channels: int) -> Shortcut:
    torch.manual_seed(channels)
    return Shortcut(channels)


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 15, 16])
def test_gradients_of_narrow_shortcuts_are_right(channels: int):
    """In channels-last memory, oneDNN crashes, hangs or gives wrong gradients for fewer channels than a vector has."""
    block = shortcut_block(channels)
    x = torch.randn(3, 8, channels, 16, 16)
    given = x.clone().requires_grad_()
    block.convolve(block.conv, given).square().sum().backward()
    reference = copy.deepcopy(block.conv).double()
    reference.zero_grad()
    same = x.double().requires_grad_()
    reference(same.flatten(0, 1)).square().sum().backward()
    torch.testing.assert_close(block.conv.weight.grad, reference.weight.grad.float(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(given.grad, same.grad.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("channels", "last"), [(4, False), (15, False), (16, True)])
def test_only_narrow_shortcuts_leave_the_memory_order(channels: int, last: bool):
    block = shortcut_block(channels)
    seen: list[torch.Tensor] = []
    block.conv.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    block.convolve(block.conv, torch.randn(3, 8, channels, 16, 16))
    assert seen[0].is_contiguous(memory_format=torch.channels_last) == last
