"""Strips of event frames: a sample as the network sees it, read from the same place as in the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.runs.run_folder import Run
from preprocess import EventFrames, RepeatedImages, open_events, open_frames, open_images
from preprocess.errors import CacheError, RunError
from preprocess.store.frame_source import FrameSource
from tune.report.firing_strips import MOST_FRAMES, Firing, data_uri, shown_steps, side_by_side
from tune.report.section import Strip

_MOST_STRIPS = 12
_LARGEST_FRAME = 64

# OFF and ON as in `spikeloom inspect --plot`; a frame without events is a faint square in both themes.
_OFF, _ON, _EMPTY = (59, 125, 216), (213, 71, 60), (128, 128, 128, 28)


def read_strips(runs: Mapping[str, Run]) -> tuple[tuple[Strip, ...], str]:
    """One test sample of each class, with the prediction of each of the named runs.

    Args:
        runs: At least one finished run by its name on the page; all have the same test samples.

    Returns:
        At most twelve strips, and a note on what they show or why there are none.
    """
    run = next(iter(runs.values()))
    try:
        read = {name: read_predictions(run.folder) for name, run in runs.items()}
        frames = _open_frames(run)
        firing = Firing(runs, frames)
        strips = []
        for sample in _one_of_each_class(next(iter(read.values()))):
            i = int(np.flatnonzero(frames.samples.name == sample)[0])
            firing.run(i)
            label = int(frames.samples.label[i])
            predictions = tuple(
                (name, frames.classes[found[sample]], found[sample] == label)
                for name, (_, found) in read.items()
                if sample in found
            )
            if run.config.input.static:
                picture = data_uri(np.ascontiguousarray(frames.read(i)[0].transpose(1, 2, 0)))
            else:
                picture = _png(frames.read(i)[: frames.lengths[i]])
            strips.append((i, Strip(f"{frames.classes[label]} · {sample}", picture, predictions)))
        frames.close()
    except (CacheError, RunError, IndexError) as error:
        return (), f"No {'images' if run.config.input.static else 'event frames'} to show: {error}"
    shown = min(frames.timesteps, MOST_FRAMES)
    classes = len(set(next(iter(read.values()))[0].values()))
    of = "" if len(strips) == classes else f" (the first {len(strips)} of {classes} classes)"
    some = "" if shown == frames.timesteps else f" ({shown} of the {frames.timesteps} are shown)"
    sees = (
        f"{frames.timesteps} frames{some} of {frames.height} × {frames.width} pixels, in temporal order. Red: brighter "
        "(ON). Blue: darker (OFF)."
    )
    if run.config.input.static:
        sees = (
            f"an image of {frames.height} × {frames.width} pixels, the same at each of {frames.timesteps} time steps."
        )
    return tuple(replace(strip, spikes=firing.draw(i)) for i, strip in strips), (
        f"The first test sample of each class{of} as the network sees it: {sees} {firing.note()}"
    )


def _open_frames(run: Run) -> FrameSource:
    """The frames that the run read."""
    path = Path(str(run.environment.get("frames")))
    if run.config.input.static:
        return RepeatedImages(open_images(path), run.config.binning.timesteps)
    if run.config.input.source == "events":
        return EventFrames(open_events(path), run.config.binning)
    return open_frames(path)


def read_predictions(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """The label and the predicted class of every test sample, by its name.

    Raises:
        RunError: If `predictions.npz` is missing or damaged.
    """
    path = folder / "predictions.npz"
    try:
        # Of damaged arrays NumPy warns before it refuses them.
        with np.errstate(all="ignore"), np.load(path) as file:
            names = [str(name) for name in file["name"]]
            labels, predicted = file["label"].tolist(), file["logits"].argmax(1).tolist()
        return dict(zip(names, labels, strict=True)), dict(zip(names, predicted, strict=True))
    except Exception as error:  # whatever a damaged archive makes zipfile, zlib and NumPy raise
        raise RunError(f"{path}: cannot be read ({str(error)[:200]}). Evaluate the run again.") from None


def _one_of_each_class(predictions: tuple[dict[str, int], dict[str, int]]) -> Sequence[str]:
    """The first sample of each class, by class."""
    first: dict[int, str] = {}
    for sample, label in predictions[0].items():
        first.setdefault(label, sample)
    return [first[label] for label in sorted(first)][:_MOST_STRIPS]


def _png(counts: NDArray[np.unsignedinteger]) -> str:
    """A sample (T, 2, H, W) as a data URI: its frames side by side on a transparent background."""
    return data_uri(side_by_side(_colour(_shrink(counts[shown_steps(len(counts))].astype(np.float64)))))


def _shrink(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum k x k blocks, so that no side is longer than the page can show."""
    k = -(-max(counts.shape[2:]) // _LARGEST_FRAME)
    steps, channels, height, width = counts.shape
    padded = np.pad(counts, ((0, 0), (0, 0), (0, -height % k), (0, -width % k)))
    return padded.reshape(steps, channels, -(-height // k), k, -(-width // k), k).sum((3, 5))


def _colour(counts: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(T, 2, H, W) counts -> (T, H, W, 4) colours: hue by polarity, opacity by the number of events."""
    total = counts.sum(1)
    busy = total[total > 0]
    # A percentile, so that a few hot pixels do not make everything else pale.
    scale = max(1.0, float(np.percentile(busy, 95))) if len(busy) else 1.0
    opacity = np.maximum(0.12, np.minimum(1.0, total / scale) ** 0.9)
    on_share = (counts[:, 1] / np.maximum(total, 1))[..., None]
    hue = on_share * np.array(_ON) + (1 - on_share) * np.array(_OFF)
    coloured = np.concatenate([hue, 255 * opacity[..., None]], axis=-1)
    coloured[total == 0] = _EMPTY
    return coloured.round().astype(np.uint8)
