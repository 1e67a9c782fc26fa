"""T = 500, and a sensor of 1280x720: frames compared with plain ones, then an epoch of training on them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.soak.outcome import Outcome, Setting, first_lines
from benchmarks.soak.recordings import moved, number_of, plain_frames, random_recording, write_folder
from benchmarks.soak.watching import Place, run
from preprocess.binning.binning_config import Binning
from preprocess.events import Events
from preprocess.files import read_json, read_lines
from preprocess.store.cache_file_names import frames_path
from preprocess.store.frame_cache import open_frames

_PEAK_MB = 4000


def run_timesteps(setting: Setting) -> Outcome:
    """Frames and an epoch of training with T = 500."""
    steps, files = setting.count(500, 20), setting.count(24, 16)
    base = random_recording(steps * setting.count(400, 50) + 7, 128, 128, seed=2)
    return _frames_and_training(setting, base, files, steps, ["--input.size", 32])


def run_sensor(setting: Setting) -> Outcome:
    """Frames and an epoch of training at 1280x720."""
    steps, files = 10, 16
    base = random_recording(setting.count(4_000_000, 20_000), 720, 1280, seed=3)
    return _frames_and_training(setting, base, files, steps, ["--input.size", 64])


def _frames_and_training(setting: Setting, base: Events, files: int, steps: int, options: list[object]) -> Outcome:
    source, cache = write_folder(setting.folder / "raw", base, files), setting.folder / "cache"
    words = ["folder", "--name", "soak", "--source", source, "--cache", cache, "--timesteps", steps]
    train = ["folder-small", "--dataset.name", "soak", "--cache", cache, "--out", setting.folder / "run"]
    train += ["--dataset.split", "random-0.9", "--dataset.validation-fraction", 0.25, "--selection", "validation"]
    train += ["--binning.timesteps", steps, "--network.width", 0.125, "--batch-size", 4, "--schedule.epochs", 1]
    # The files of an interrupted part are used again, but the work that is timed is not.
    for name in ("cache", "run"):
        shutil.rmtree(setting.folder / name, ignore_errors=True)
    with Place() as place:
        built = run(place, ["-m", "preprocess", "preprocess", *words])
        trained = run(place, ["-m", "pipeline", "train", *train, *options])
    work = f"{files} samples of {len(base):,} events, {base.width}x{base.height}, T = {steps}, and an epoch of training"
    outcome = Outcome(work, built.usage + trained.usage)
    for name, ended in (("preprocess", built), ("train", trained)):
        outcome.expect(f"exit code 0 of {name}", ended.code == 0, f"{ended.code}: {ended.last_line}")
    if not outcome.failures:
        outcome.figures = f"preprocess {built.usage.seconds:.1f} s, train {trained.usage.seconds:.1f} s"
        # The preset trains on frames that are smaller by a factor of 4, in a cache of their own.
        frames = frames_path(cache, "soak", Binning(steps), base.height, base.width)
        outcome.failures += first_lines(frame_errors(frames, base, files, steps))
        outcome.failures += first_lines(run_errors(setting.folder / "run"))
    peak = outcome.usage.peak_mb
    outcome.expect(f"at most {_PEAK_MB} MB", peak <= _PEAK_MB, f"{peak:.0f} MB")
    return outcome


def frame_errors(path: Path, base: Events, files: int, timesteps: int) -> Iterator[str]:
    """A line for each sample whose frames are not those of its recording."""
    frames = open_frames(path)
    if len(frames) != files:
        yield f"expected {files} samples, found {len(frames)}"
    for i, name in enumerate(frames.samples.name):
        if not np.array_equal(frames.read(i), plain_frames(moved(base, number_of(str(name))), timesteps)):
            yield f"expected the frames of {name}, found others"


def run_errors(folder: Path) -> Iterator[str]:
    """A line if the run has no finite losses, or no test result."""
    rows = read_lines(folder / "metrics.jsonl")
    losses = [row.get("train_loss", row.get("validation_loss")) for row in rows]
    if len(rows) != 1 or not all(isinstance(loss, float) and np.isfinite(loss) for loss in losses):
        yield f"expected one epoch with a finite loss, found {losses}"
    if read_json(folder / "result.json") is None:
        yield "expected a test result, found none"
