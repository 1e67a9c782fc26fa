"""Compare neurons: the same runs but for the neuron, paired by seed, through Ray; tables and pictures of what came."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import PLACE_FIELDS, flatten
from pipeline.runs import holding, make_folder, write_whole
from preprocess.errors import RunError
from preprocess.event_store import events_path, open_events
from preprocess.progress import Progress
from preprocess.splits import split_samples
from tune.comparison import FILE, Comparison, read_comparison, read_outcomes
from tune.sources import FixedTrials
from tune.statistics import LEVEL, pairs_needed, smallest_p
from tune.verdict import Verdict, neuron_label, seed_words

if TYPE_CHECKING:
    from tune.place import Place

# What each run of a comparison sets by itself, and what never changes what it computes.
_FREE_FIELDS = frozenset({"neuron.name", "seed"}) | PLACE_FIELDS


def compare(
    comparison: Comparison, folder: Path, *, place: Place | None = None, progress: Progress | None = None
) -> Verdict:
    """Run what the folder lacks, then write its tables and figures.

    Runs are found again by the fingerprint of their configuration, so more seeds or neurons into the same folder run
    only what is new, and an interrupted comparison goes on where it stopped.

    Args:
        comparison: What to run.
        folder: The comparison's folder, made if missing.
        place: Where and how long; None is this machine, without an end.
        progress: Where to tell how far it is.

    Raises:
        RunError: If the folder holds a comparison of another configuration, or no run came to a result.
        ConfigError: If a neuron or the split does not exist.
        CacheError: If there is no event store.
    """
    from tune.execution import run_trials

    progress = progress or Progress()
    comparison = _with_earlier(comparison, folder)
    _check_runs(comparison)
    make_folder(folder)
    # Under the lock: a comparison that runs there already keeps its own.
    with holding(folder):
        comparison.write(folder)
    for line in plan_lines(comparison, folder):
        progress.note(line)
    run_trials(
        FixedTrials(comparison.configs()),
        folder,
        comparison.cache,
        open_test=True,
        # In pieces a network is normalised otherwise: runs would differ in more than the neuron.
        in_pieces=False,
        place=place,
        fields=["neuron.name", "seed"],
        progress=progress,
    )
    return write_verdict(comparison, folder)


def plan_lines(comparison: Comparison, folder: Path) -> list[str]:
    """What is about to run, and what so few seeds cannot show: told before the first run."""
    outcomes = read_outcomes(comparison, folder).values()
    there = sum(outcome.run is not None for outcome in outcomes)
    names = ", ".join(neuron_label(neuron) for neuron in comparison.neurons)
    count = len(comparison.seeds)
    lines = [
        f"{len(outcomes)} runs of {comparison.config.schedule.epochs} epochs: {names}, "
        f"{count} seed{'s' if count > 1 else ''} each ({seed_words(comparison.seeds)}); {there} done already"
    ]
    if smallest_p(count) > LEVEL:
        lines.append(
            f"{count} seed{'s' if count > 1 else ''} cannot show a difference: a sign-flip test reaches p = "
            f"{smallest_p(count):.2g} at best; p <= {LEVEL} takes {pairs_needed()} or more (--seeds {pairs_needed()})"
        )
    return lines


def write_verdict(comparison: Comparison, folder: Path) -> Verdict:
    """Write table.md, table.csv and figures/ of the runs that are there.

    Raises:
        RunError: If there is none, with the cause of the first.
    """
    from tune.drawing import PAPER, drawing, save
    from tune.report.figures import difference_panels, draw_panels, learning_panels

    outcomes = read_outcomes(comparison, folder)
    verdict = Verdict(comparison, outcomes)
    if verdict.test_samples is None:
        raise RunError(f"{folder}: no run came to a result; the first: {verdict.faults[0]}")
    write_whole(folder / "table.md", lambda path: path.write_text(_markdown(verdict)))
    write_whole(folder / "table.csv", lambda path: path.write_text(verdict.csv()))
    about = f"{verdict.about}{'; emulated data' if verdict.emulated else ''}"
    with drawing(PAPER):
        save(draw_panels(*learning_panels(outcomes), about=about), folder / "figures", "learning-curves")
        save(draw_panels(*difference_panels(verdict), about=about), folder / "figures", "paired-differences")
    return verdict


def _markdown(verdict: Verdict) -> str:
    said = "".join(f"- {sentence}\n" for sentence in (*verdict.sentences(), *missing_lines(verdict)))
    return f"{verdict.table().markdown()}\n{verdict.seed_table().markdown()}\n## What the data show\n\n{said}"


def missing_lines(verdict: Verdict) -> list[str]:
    """The runs that no number includes, a line each."""
    return [f"Missing, in no mean: {fault}" for fault in verdict.faults]


def _check_runs(comparison: Comparison) -> None:
    """Refuse at once, and before anything is written, what every run would fail of."""
    from pipeline.neurons import make_neuron

    config = comparison.config
    for neuron in comparison.neurons:
        make_neuron(replace(config.neuron, name=neuron))
    dataset = config.dataset
    store = open_events(events_path(comparison.cache, dataset.name))
    split_samples(
        store.samples, dataset.name, dataset.split, dataset.validation_fraction, config.selection, store.classes
    )


def _with_earlier(comparison: Comparison, folder: Path) -> Comparison:
    """The comparison with the neurons and seeds that the folder was asked for before: none is dropped after the fact.

    Raises:
        RunError: If the folder holds runs of another kind: they must never meet in one table.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE).exists():
        raise RunError(f"{folder}: expected an empty folder or a comparison, found others. Choose another --out.")
    if not (folder / FILE).is_file():
        return comparison
    earlier = read_comparison(folder)
    theirs, ours = flatten(earlier.config), flatten(comparison.config)
    changed = [path for path in ours if path not in _FREE_FIELDS and ours[path] != theirs[path]]
    if changed:
        raise RunError(
            *(f"{folder}: holds a comparison with {path} = {theirs[path]}, expected {ours[path]}" for path in changed),
            f"{folder}: runs of different settings do not compare. Choose another --out.",
        )
    neurons = tuple(dict.fromkeys((*earlier.neurons, *comparison.neurons)))
    return replace(comparison, neurons=neurons, seeds=tuple(sorted({*earlier.seeds, *comparison.seeds})))
