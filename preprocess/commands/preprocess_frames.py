"""spikeloom preprocess frames: import frames that other programs made, as a data set without events."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preprocess.building.worker_pool import DEFAULT_WORKERS
from preprocess.terminal.command_line import UsageError, parse

if TYPE_CHECKING:
    from preprocess.frame_import.import_frames import ImportedDataset
    from preprocess.store.frame_cache import FrameCache


@dataclass(frozen=True)
class Arguments:
    """Import frames whose events were not kept, so that networks can be trained on them.

    Reads SpikingJelly's folders of .npz files (frames_number_20_split_by_number, duration_1000), files of torch.save
    with frames and a class number (.pt), and tonic's DiskCachedDataset (.hdf5). Folders train and test become the
    official split; classes are folders, or the numbers in the files. How the frames were binned is not known, so the
    data set has no other T.

    Example: spikeloom preprocess frames --name gestures --source DVS128Gesture/frames_number_20_split_by_number
    """

    name: str
    """Name of the data set, for --dataset.name."""
    source: Path
    """The folder of the frames."""
    cache: Path | None = None
    """The folder of all caches (default: $SPIKELOOM_CACHE or ./cache)."""
    axes: str | None = None
    """Order of the axes of a sample: the letters t (time), p (polarity), y (rows) and x (columns), such as ptyx
    (default: tpyx, or tpxy where the size is that of a known camera on its side)."""
    workers: int = DEFAULT_WORKERS
    """Number of threads."""
    json: bool = False
    """Print one JSON object instead of lines."""

    def check(self) -> None:
        """Raise a UsageError with every error that can be found without reading files."""
        errors = []
        if not self.name or "/" in self.name or self.name.startswith("."):
            errors.append(f"--name: expected the name of a folder, such as my-frames, found '{self.name}'")
        if self.workers < 1:
            errors.append(f"--workers: expected at least 1, found {self.workers}")
        if errors:
            raise UsageError(*errors)


def run(argv: list[str]) -> None:
    """Import the frames, then print what there is and how to train on it."""
    arguments = parse(Arguments, argv, prog="spikeloom preprocess frames")
    arguments.check()
    from preprocess.frame_import.import_frames import import_frames
    from preprocess.store.frame_cache import open_frames
    from preprocess.terminal.progress import progress_on_stderr

    start = time.perf_counter()
    found = import_frames(
        arguments.source,
        arguments.name,
        arguments.cache,
        axes=arguments.axes,
        workers=arguments.workers,
        progress=progress_on_stderr(),
    )
    seconds = time.perf_counter() - start
    frames = open_frames(found.path)
    answer = _describe(found, frames, seconds)
    print(json.dumps(answer) if arguments.json else "\n".join(_lines(found, frames, answer)))


def _describe(found: ImportedDataset, frames: FrameCache, seconds: float) -> dict[str, Any]:
    from preprocess.store.sample_table import TEST, TRAIN

    split = frames.samples.split
    return {
        "dataset": found.name,
        "path": str(found.path),
        "built": found.built,
        "seconds": round(seconds, 3),
        "samples": len(frames),
        "train": int((split == TRAIN).sum()),
        "test": int((split == TEST).sum()),
        "classes": list(frames.classes),
        "timesteps": [int(frames.lengths.min()), int(frames.lengths.max())],
        "height": frames.height,
        "width": frames.width,
        "dtype": str(frames.dtype),
        "binning": "imported; binning not known",
        "options": frames.binning.to_attributes(),
        "notes": list(found.notes),
    }


def _lines(found: ImportedDataset, frames: FrameCache, answer: dict[str, Any]) -> list[str]:
    shortest, longest = answer["timesteps"]
    steps = f"{longest}" if shortest == longest else f"({shortest} to {longest})"
    splits = f": {answer['train']:,} train, {answer['test']:,} test" if answer["train"] or answer["test"] else ""
    kind = "counts" if frames.dtype.kind != "f" else "values"
    options = " ".join(f"--binning.{key.replace('_', '-')} {value}" for key, value in answer["options"].items())
    split = "" if answer["train"] and answer["test"] else " --dataset.split random-0.9"
    return [
        f"{found.path} ({found.path.stat().st_size / 1e6:,.2f} MB)",
        f"  {len(frames):,} samples{splits}; {len(frames.classes)} classes",
        f"  {steps} x 2 x {frames.height} x {frames.width} {frames.dtype} {kind}; imported; binning not known",
        *(f"  note: {note}" for note in found.notes),
        f"  {'imported' if found.built else 'up to date'} ({answer['seconds']:.1f} s)",
        f"Next: spikeloom train folder-small --dataset.name {found.name} {options}{split}"
        if split
        else f"Next: spikeloom train folder-small --dataset.name {found.name} --dataset.split official {options}",
    ]
