"""The four stages of blocks that residual networks of 18 and 34 layers have (He et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from pipeline.layers.blocks import scaled

CHANNELS = (64, 128, 256, 512)
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks of each stage, by the number of layers with weights."""

MakeBlock = Callable[[int, int, int], nn.Module]
"""Makes a block from its channels, the channels of its output, and its stride."""


def make_stages(make_block: MakeBlock, layers: int, width: float, *, strides: Sequence[int]) -> nn.Sequential:
    """Stages stage1 ... stage4 of blocks block1, block2, ...; the first block of a stage has its stride.

    Args:
        make_block: Called for each block in turn.
        layers: 18 or 34.
        width: Factor for the channels; the first block receives as many as the first stage has.
        strides: One for each stage.
    """
    stages = nn.Sequential()
    channels = scaled(CHANNELS[0], width)
    for number, (step, depth, stride) in enumerate(zip(CHANNELS, DEPTHS[layers], strides, strict=True), 1):
        out, stage = scaled(step, width), nn.Sequential()
        for block in range(1, depth + 1):
            stage.add_module(f"block{block}", make_block(channels, out, stride if block == 1 else 1))
            channels = out
        stages.add_module(f"stage{number}", stage)
    return stages
