"""A search of tiny trials through the command line, on emulated digits: what the accidents happen to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.soak.watching import Ended, Place, run
from pipeline.config.run_config import override, to_dict
from pipeline.presets.registry import find_preset
from preprocess.files import write_json

DATASET = "emulated-digits"
# Narrow, small and few, so that an epoch takes a fraction of a second.
_TINY = {
    "network.width": 0.125,
    "input.size": 17,
    "batch_size": 32,
    "binning.timesteps": 2,
    "dataset.validation_fraction": 0.25,
}


def prepare(folder: Path, place: Place, epochs: int) -> list[Ended]:
    """Make recordings, a cache and a configuration in a folder, unless they are there; the commands that failed."""
    if (folder / "config.json").exists():
        return []
    folder.mkdir(parents=True, exist_ok=True)
    commands = (
        ["-m", "preprocess", "emulate", "digits", "--out", folder / "raw", "--samples-per-class", 12],
        ["-m", "preprocess", "preprocess", DATASET, "--source", folder / "raw", "--cache", folder / "cache"],
    )
    for words in commands:
        ended = run(place, words)
        if ended.code:
            return [ended]
    config = override(find_preset("digits-small").config, _TINY | {"schedule.epochs": epochs})
    write_json(folder / "config.json", to_dict(config))
    return []


def new_search(folder: Path, out: Path, trials: int, options: Sequence[object] = ()) -> list[object]:
    """The words of a search of so many trials that are not stopped early, two at a time."""
    place = ["--config", folder / "config.json", "--cache", folder / "cache", "--out", out]
    search = ["--space", "neuron.tau=1.1:8", "--samples", trials, "--scheduler", "none", "--final-seeds", 0]
    return ["-m", "tune", "tune", *place, *search, *(options or ("--concurrent", 2))]


def resumed(out: Path) -> list[object]:
    """The words that resume it."""
    return ["-m", "tune", "tune", "--resume", out, "--concurrent", 2]


def search_words(folder: Path, out: Path, trials: int) -> list[object]:
    """The words that start a search, or resume it if it has been started."""
    return resumed(out) if (out / "search.json").exists() else new_search(folder, out, trials)


def ended_trials(out: Path) -> int:
    """Number of trials with an end."""
    return sum(1 for _ in out.glob("trials/*/done.json"))
