"""Read a raw recording of any format and bin its events into frames."""

import sys

from preprocess import Binning, bin_events, read_events

events = read_events(sys.argv[1])
seconds = (events.t[-1] - events.t[0]) / 1e6
print(f"{len(events):,} events in {seconds:.2f} s, {events.height}x{events.width} pixels")

# Ten frames with equal numbers of events, summed over blocks of 4 x 4 pixels: (T, 2, H, W), OFF and ON.
frames = bin_events(events, Binning(timesteps=10, downsample=4))
print(f"frames {frames.shape}, {frames.dtype}, at most {frames.max()} events per pixel")

# The first 100 ms, in frames of 10 ms each.
beginning = events[events.t < events.t[0] + 100_000]
short = bin_events(beginning, Binning(split_by="duration", duration_us=10_000))
print(f"frames of 10 ms: {short.shape}")
