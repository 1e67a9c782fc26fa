"""Raw N-MNIST recordings to tested networks, as a user waits for them: ``python -m benchmarks.time_to_result``.

    one      preprocess, train and test one network, compared with a plain script of tonic and SpikingJelly
    search   12 values of tau and the learning rate: `spikeloom tune`, compared with the script's loop over them

Both sides are separate processes from the raw files on, starts of Python included, and run in turns. Before that, both
must give the same frames, and both networks the same outputs and gradients in every block. Accuracies are printed.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro

from benchmarks.equality import expect
from benchmarks.measuring import Row, format_table
from benchmarks.residual_peers import copy_weights
from benchmarks.time_to_result_peer import SIZE, Recordings, make_network
from benchmarks.vgg_peers import check_blocks
from pipeline.config.run_config import override
from pipeline.networks import build_network
from pipeline.presets.registry import find_preset
from preprocess.store.cache_file_names import frames_path
from preprocess.store.frame_cache import open_frames

PRESET, TAU = "n-mnist-small", 2.0
TAUS = (1.5, 2.0, 3.0, 4.0)
LEARNING_RATES = (0.001, 0.003, 0.01)
TARGETS = {"one": 4.0, "search": 6.0}


@dataclass(frozen=True)
class Arguments:
    """Compare the time from raw recordings to tested networks.

    Example: python -m benchmarks.time_to_result one --source n-mnist
    """

    part: Annotated[Literal["one", "search"], tyro.conf.Positional]
    source: Path
    """Folder with N-MNIST's Train and Test."""
    epochs: int = 8
    timesteps: int = 10
    width: float = 1.0
    """Multiplies the channels."""
    repeats: int = 3
    tiny: bool = False
    """Only check on a few recordings that both compute the same."""
    scheduler: str = "none"
    """Early stopping of `spikeloom tune`: none or asha. The script trains all epochs of each network."""
    taus: tuple[float, ...] = TAUS
    learning_rates: tuple[float, ...] = LEARNING_RATES


@dataclass(frozen=True)
class Outcome:
    """What one side needed and reached: seconds from start to end, and the test accuracy of its best network."""

    seconds: float
    test: float


def main(arguments: Arguments) -> None:
    """Check equality, then print the table."""
    ours, theirs = {"one": (train_one, script_of_one), "search": (search, script_of_search)}[arguments.part]
    with tempfile.TemporaryDirectory(prefix="spikeloom-bench-") as name:
        folder = Path(name)
        check_equal(arguments, folder / "equal")
        found = [] if arguments.tiny else rows(arguments, folder, ours, theirs)
        print(format_table(list(found)))


Side = Callable[[Arguments, Path], Outcome]


def rows(arguments: Arguments, folder: Path, ours: Side, theirs: Side) -> Iterator[Row]:
    """Run both sides in turns; medians."""
    mine, others = [], []
    for _ in range(arguments.repeats):
        mine.append(ours(arguments, folder / "ours"))
        others.append(theirs(arguments, folder))
    seconds, peer_seconds = (statistics.median(one.seconds for one in side) for side in (mine, others))
    trials = len(arguments.taus) * len(arguments.learning_rates)
    work = "raw recordings to a tested network" if arguments.part == "one" else f"a search of {trials} trials"
    yield Row(
        f"{work}, {arguments.epochs} epochs (test accuracy)",
        f"{seconds:.1f} s ({statistics.fmean(100 * one.test for one in mine):.2f} %)",
        f"tonic and SpikingJelly {peer_seconds:.1f} s ({statistics.fmean(100 * one.test for one in others):.2f} %)",
        peer_seconds / seconds,
        TARGETS[arguments.part],
    )


def check_equal(arguments: Arguments, folder: Path) -> None:
    """Check that both have the same frames of the first recordings, and networks that compute the same."""
    theirs = Recordings(arguments.source / "Train", arguments.timesteps)
    for file in theirs.files[:: max(1, len(theirs.files) // 20)]:
        target = folder / "Train" / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (folder / "Test").symlink_to("Train")
    chosen = Recordings(folder / "Train", arguments.timesteps)
    run([*preprocess(arguments, folder, folder / "cache")])
    config = override(find_preset(PRESET).config, configuration(arguments) | {"neuron.tau": TAU})
    frames = open_frames(frames_path(folder / "cache", "n-mnist", config.binning, SIZE, SIZE))
    found = {str(name): frames.read(i) for i, name in enumerate(frames.samples.name)}
    for i, file in enumerate(chosen.files):
        expect(np.array_equal(found[f"train/{file.parent.name}/{file.stem}"], chosen[i][0]), f"{file}: frames")
    sample = torch.from_numpy(np.stack([chosen[i][0] for i in range(4)], axis=1)).float()
    network = build_network(
        config.network, config.neuron, channels=2, classes=10, size=(SIZE, SIZE), timesteps=arguments.timesteps, seed=0
    )
    peer = make_network(TAU, arguments.width)
    copy_weights(network, peer)
    check_blocks("n-mnist-small", network, peer, sample)


def configuration(arguments: Arguments) -> dict[str, object]:
    """The fields in which both sides differ from the preset."""
    return {
        "neuron.name": "clif",
        "network.batch_norm": "joint",
        "network.width": arguments.width,
        "binning.timesteps": arguments.timesteps,
        "schedule.epochs": arguments.epochs,
    }


def preprocess(arguments: Arguments, source: Path, cache: Path) -> Iterator[str]:
    yield from (sys.executable, "-m", "preprocess", "preprocess", "n-mnist", "--source", str(source))
    yield from ("--cache", str(cache), "--timesteps", str(arguments.timesteps), "--workers", "2")


def trained(arguments: Arguments, folder: Path, command: list[str]) -> float:
    """Seconds of `spikeloom preprocess` and then of a command that trains, from an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    fields = [part for name, value in configuration(arguments).items() for part in (f"--{name}", str(value))]
    start = time.perf_counter()
    run([*preprocess(arguments, arguments.source, folder / "cache")])
    run([*command, *fields, "--cache", str(folder / "cache"), "--out", str(folder / "out")])
    return time.perf_counter() - start


def train_one(arguments: Arguments, folder: Path) -> Outcome:
    """`spikeloom preprocess` and `spikeloom train`."""
    seconds = trained(arguments, folder, [sys.executable, "-m", "pipeline", "train", PRESET])
    return Outcome(seconds, json.loads((folder / "out" / "result.json").read_text())["test_accuracy"])


def search(arguments: Arguments, folder: Path) -> Outcome:
    """`spikeloom preprocess` and `spikeloom tune`, whose best configuration is trained once more and tested."""
    space = [f"neuron.tau={join(arguments.taus)}", f"optimiser.learning_rate={join(arguments.learning_rates)}"]
    command = [sys.executable, "-m", "tune", "tune", PRESET, "--search", "grid", "--space", *space]
    seconds = trained(arguments, folder, [*command, "--scheduler", arguments.scheduler, "--final-seeds", "1"])
    return Outcome(seconds, json.loads((folder / "out" / "final.json").read_text())["test_accuracy"])


def join(values: tuple[float, ...]) -> str:
    return ",".join(map(str, values))


def script_of_one(arguments: Arguments, _: Path) -> Outcome:
    """The script with one network."""
    return script_of_search(replace(arguments, taus=(TAU,), learning_rates=(0.003,)), _)


def script_of_search(arguments: Arguments, _: Path) -> Outcome:
    """The script with all values, one after another."""
    words = [sys.executable, "-m", "benchmarks.time_to_result_peer", "--source", str(arguments.source)]
    words += ["--epochs", str(arguments.epochs), "--timesteps", str(arguments.timesteps)]
    words += ["--width", str(arguments.width), "--taus", *map(str, arguments.taus)]
    start = time.perf_counter()
    printed = run([*words, "--learning-rates", *map(str, arguments.learning_rates)])
    seconds = time.perf_counter() - start
    found = [json.loads(line) for line in printed.splitlines()]
    return Outcome(seconds, max(found, key=lambda one: one["validation"])["test"])


def run(words: list[str]) -> str:
    """Run a command; its output, or SystemExit with its errors."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"benchmarks: {' '.join(words)} failed: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main(tyro.cli(Arguments))
