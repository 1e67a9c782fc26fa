"""Preprocess recordings into a cache, and train on it with your own loop."""

import sys

import torch
from spikingjelly.activation_based import functional, layer, surrogate
from torch import nn
from torch.utils.data import DataLoader

from pipeline import FrameDataset, LIFNode, LossConfig, spiking_loss, time_first_collate
from preprocess import open_frames, preprocess_dataset

made = preprocess_dataset(sys.argv[1], "emulated-gestures", "cache", timesteps=8, downsample=4)
print(f"{made.samples} samples of {len(made.classes)} classes, {made.events:,} events")

frames = open_frames(made.frames_paths[0])
train = [i for i in range(len(frames)) if frames.samples.split[i] == 0]
loader = DataLoader(FrameDataset(frames, train), batch_size=8, shuffle=True, collate_fn=time_first_collate)

network = nn.Sequential(
    layer.Conv2d(2, 8, 3, padding=1, step_mode="m"),
    LIFNode(surrogate_function=surrogate.ATan(), step_mode="m"),
    layer.AvgPool2d(4, step_mode="m"),
    layer.Flatten(step_mode="m"),
    layer.Linear(8 * 8 * 8, len(made.classes), step_mode="m"),
)
optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
for epoch in range(2):
    total = 0.0
    for x, y in loader:  # x: (T, B, 2, H, W)
        loss = spiking_loss(network(x), y, LossConfig())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        functional.reset_net(network)
        total += loss.item()
    print(f"epoch {epoch + 1}: loss {total / len(loader):.4f}")
