"""The whole road in minutes on a CPU: emulate gestures, preprocess, search, compare LIF with CLIF, report.

OUT/recordings    emulated gestures in DVS128-Gesture's format and layout
OUT/cache         their event store and frame caches
OUT/search        a search over T, tau and neuron
OUT/comparison    LIF against CLIF with the T and tau that the search chose
OUT/report.html   both on one page
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.run_config import load_config, override
from pipeline.presets.registry import find_preset
from preprocess.errors import RunError
from preprocess.terminal.progress import Progress

if TYPE_CHECKING:
    from tune.comparison.conclusions import Conclusion
    from tune.search.results import Findings

PRESET = "gestures-small"
DATASET = "emulated-gestures"
PARTS = ("recordings", "cache", "search", "comparison", "report.html")

# Chosen by measurement: about 160 s of one CPU in all, so that two slow or busy ones still finish within five minutes.
SAMPLES_PER_CLASS = 40
RECORDING_SEED = 1
SMALLER = {"network.width": 0.5}
EPOCHS = 6
SPACE = ("binning.timesteps=4,8", "neuron.tau=1.5,2", "neuron.name=lif,clif")
TRIALS = 8
SEEDS = 3


@dataclass(frozen=True, eq=False)
class Demo:
    """What came of it."""

    findings: Findings
    conclusion: Conclusion
    report: Path


def run_demo(folder: Path, progress: Progress) -> Demo:
    """Do what the folder lacks; whatever is whole from an earlier run is taken as it is.

    Args:
        folder: New, empty, or of an earlier demo.
        progress: Where to tell each step.

    Raises:
        RunError: If the folder holds anything else, or a demo with other settings.
        LayoutError: If its recordings are other ones.
    """
    from preprocess.building.build_event_store import build_event_store
    from preprocess.datasets import find_layout
    from preprocess.emulator.gestures import emulate_gestures
    from tune.cluster.ray_session import ray_running
    from tune.report import write_report

    _check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recordings, cache = folder / "recordings", folder / "cache"
    with _step(progress, 1, f"emulate: an event camera films {11 * SAMPLES_PER_CLASS} gestures"):
        emulate_gestures(recordings, samples_per_class=SAMPLES_PER_CLASS, seed=RECORDING_SEED, progress=progress)
    with _step(progress, 2, "preprocess: recordings become one event store"):
        build_event_store(find_layout(DATASET, recordings), cache, progress=progress)
    # One Ray for both: it takes seconds to start.
    with ray_running():
        with _step(progress, 3, f"tune: {TRIALS} trials over T, tau and neuron"):
            findings = _search(folder / "search", cache, progress)
        with _step(progress, 4, f"compare: LIF and CLIF, {SEEDS} seeds each"):
            conclusion = _compare(folder / "search", folder / "comparison", cache, progress)
    with _step(progress, 5, "report: one page of it all"):
        report = write_report(folder)
    return Demo(findings, conclusion, report)


def _check_folder(folder: Path) -> None:
    foreign = [path.name for path in folder.iterdir() if path.name not in PARTS] if folder.is_dir() else []
    if foreign or (folder.exists() and not folder.is_dir()):
        found = ", ".join(sorted(foreign)[:3]) or "a file"
        raise RunError(f"{folder}: expected a new folder or a demo's, found {found}. Choose another --out.")


@contextlib.contextmanager
def _step(progress: Progress, number: int, text: str) -> Iterator[None]:
    progress.note(f"[{number}/5] {text}")
    start = time.perf_counter()
    yield
    progress.note(f"[{number}/5] done in {time.perf_counter() - start:.0f} s")


def _search(folder: Path, cache: Path, progress: Progress) -> Findings:
    from tune.search.options import SearchOptions
    from tune.search.plan import FILE, plan_search, read_search
    from tune.search.run_search import run_search

    config = override(find_preset(PRESET).config, SMALLER | {"schedule.epochs": EPOCHS})
    search = plan_search(PRESET, config, SearchOptions(SPACE, samples=TRIALS, scheduler="none"), cache)
    if (folder / FILE).exists() and read_search(folder) != search:
        hint = f"Choose another --out, or delete {folder.parent}."
        raise RunError(f"{folder}: expected the search of this demo, found one with other settings. {hint}")
    return run_search(search, folder, progress=progress)


def _compare(search: Path, folder: Path, cache: Path, progress: Progress) -> Conclusion:
    from tune.comparison.plan import compare_neurons
    from tune.comparison.run_comparison import compare

    # Both neurons take the T and tau that the search chose, and all training samples.
    config = override(load_config(search / "best.json"), {"selection": "last"})
    seeds = tuple(range(config.seed, config.seed + SEEDS))
    return compare(compare_neurons(PRESET, config, ("lif", "clif"), seeds, cache), folder, progress=progress)
