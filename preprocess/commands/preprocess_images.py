"""spikeloom preprocess cifar10, cifar100, tiny-imagenet: convert static images to an image store."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any


def build_images(
    dataset: str, source: Path, cache: Path | None, *, name: str | None, workers: int, as_json: bool
) -> None:
    """Build the image store unless it is up to date, then print what there is and how to train on it."""
    from preprocess.building.build_image_store import preprocess_images
    from preprocess.datasets.registry import find_published
    from preprocess.terminal.progress import progress_on_stderr

    start = time.perf_counter()
    progress = progress_on_stderr()
    found = preprocess_images(source, dataset, cache, name=name, workers=workers, progress=progress)
    published = find_published(dataset)
    if published is not None and published.train not in (None, found.train_samples):
        progress.note(f"{found.name}: {found.train_samples:,} of the published {published.train:,} training images")
    answer: dict[str, Any] = {
        "dataset": found.name,
        "path": str(found.path),
        "built": found.built,
        "seconds": round(time.perf_counter() - start, 3),
        "samples": found.train_samples + found.test_samples,
        "train": found.train_samples,
        "test": found.test_samples,
        "classes": list(found.classes),
        "height": found.height,
        "width": found.width,
    }
    if as_json:
        print(json.dumps(answer))
        return
    print(f"{found.path} ({found.path.stat().st_size / 1e6:,.2f} MB)")
    splits = f"{found.train_samples:,} train, {found.test_samples:,} test"
    print(f"  {answer['samples']:,} images: {splits}; {len(found.classes)} classes")
    print(f"  3 x {found.height} x {found.width} uint8; any number of time steps")
    print(f"  {'built' if found.built else 'up to date'} ({answer['seconds']:.1f} s)")
    print(f"Next: spikeloom train images-small --dataset.name {found.name}")
