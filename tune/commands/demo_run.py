"""The complete pipeline in minutes on a CPU: emulate gestures, preprocess, search, compare LIF with CLIF, report.

OUT/recordings    emulated gestures in DVS128-Gesture's format and layout
OUT/cache         their event store and frame caches
OUT/search        a search over T, tau and neuron
OUT/comparison    LIF against CLIF with the T and tau that the search selected
OUT/report.html   both on one page
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.run_config import load_config, override
from pipeline.presets.registry import find_preset
from preprocess.errors import RunError
from preprocess.terminal.progress import Progress

if TYPE_CHECKING:
    from tune.comparison.conclusions import Conclusion
    from tune.search.search_findings import Findings

PRESET = "gestures-small"
DATASET = "emulated-gestures"
PARTS = ("recordings", "cache", "search", "comparison", "report.html")


@dataclass(frozen=True)
class DemoSettings:
    """The size of the demo.

    The defaults take about 160 s of one CPU, by measurement, so that two slow or busy ones finish within five minutes.

    Attributes:
        samples_per_class: Recordings of each of the 11 gestures.
        recording_seed: The seed of the emulator.
        changes: Changes to the preset, values by field path.
        epochs: Epochs of each run.
        space: The searched space.
        trials: The number of trials.
        seeds: Seeds of the comparison.
    """

    samples_per_class: int = 40
    recording_seed: int = 1
    changes: Mapping[str, Any] = field(default_factory=lambda: {"network.width": 0.5})
    epochs: int = 6
    space: tuple[str, ...] = ("binning.timesteps=4,8", "neuron.tau=1.5,2", "neuron.name=lif,clif")
    trials: int = 8
    seeds: int = 3


@dataclass(frozen=True, eq=False)
class Demo:
    """The results of the demo."""

    findings: Findings
    conclusion: Conclusion
    report: Path


def run_demo(folder: Path, progress: Progress, settings: DemoSettings | None = None) -> Demo:
    """Run the steps that the folder lacks; complete steps of an earlier run are reused.

    Args:
        folder: A new or empty folder, or that of an earlier demo.
        progress: Shows each step.
        settings: The size of the demo.

    Raises:
        RunError: If the folder contains anything else, or a demo with other settings.
        LayoutError: If its recordings have other settings.
    """
    from preprocess.building.build_event_store import build_event_store
    from preprocess.datasets import find_layout
    from preprocess.emulator.gestures import emulate_gestures
    from tune.cluster.ray_session import ray_running
    from tune.report import write_report

    settings = settings or DemoSettings()
    _check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recordings, cache = folder / "recordings", folder / "cache"
    with _step(progress, 1, f"emulate: an event camera records {11 * settings.samples_per_class} gestures"):
        emulate_gestures(
            recordings,
            samples_per_class=settings.samples_per_class,
            seed=settings.recording_seed,
            progress=progress,
        )
    with _step(progress, 2, "preprocess: write the recordings to one event store"):
        build_event_store(find_layout(DATASET, recordings), cache, progress=progress)
    # One Ray for both steps, because it takes seconds to start.
    with ray_running():
        with _step(progress, 3, f"tune: {settings.trials} trials over T, tau and neuron"):
            findings = _search(folder / "search", cache, progress, settings)
        with _step(progress, 4, f"compare: LIF and CLIF, {settings.seeds} seeds each"):
            conclusion = _compare(folder / "search", folder / "comparison", cache, progress, settings)
    with _step(progress, 5, "report: one page with all results"):
        report = write_report(folder)
    return Demo(findings, conclusion, report)


def _check_folder(folder: Path) -> None:
    foreign = [path.name for path in folder.iterdir() if path.name not in PARTS] if folder.is_dir() else []
    if foreign or (folder.exists() and not folder.is_dir()):
        found = ", ".join(sorted(foreign)[:3]) or "a file"
        raise RunError(f"{folder}: expected a new folder or that of a demo, found {found}. Choose another --out.")


@contextlib.contextmanager
def _step(progress: Progress, number: int, text: str) -> Iterator[None]:
    progress.note(f"[{number}/5] {text}")
    start = time.perf_counter()
    yield
    progress.note(f"[{number}/5] done in {time.perf_counter() - start:.0f} s")


def _search(folder: Path, cache: Path, progress: Progress, settings: DemoSettings) -> Findings:
    from tune.search.options import SearchOptions
    from tune.search.run_search import run_search
    from tune.search.search_plan import FILE, plan_search, read_search

    config = override(find_preset(PRESET).config, {**settings.changes, "schedule.epochs": settings.epochs})
    options = SearchOptions(settings.space, samples=settings.trials, scheduler="none")
    search = plan_search(PRESET, config, options, cache)
    if (folder / FILE).exists() and read_search(folder) != search:
        hint = f"Choose another --out, or delete {folder.parent}."
        raise RunError(f"{folder}: expected the search of this demo, found one with other settings. {hint}")
    return run_search(search, folder, progress=progress)


def _compare(search: Path, folder: Path, cache: Path, progress: Progress, settings: DemoSettings) -> Conclusion:
    from tune.comparison.comparison_plan import compare_neurons
    from tune.comparison.run_comparison import compare

    # Both neurons use the T and tau that the search selected, and all training samples.
    config = override(load_config(search / "best.json"), {"selection": "last"})
    seeds = tuple(range(config.seed, config.seed + settings.seeds))
    return compare(compare_neurons(PRESET, config, ("lif", "clif"), seeds, cache), folder, progress=progress)
