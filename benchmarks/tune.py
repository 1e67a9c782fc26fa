"""The overhead of a search, and the savings of early stopping: ``python -m benchmarks.tune PART``.

    overhead    seconds from the command to the first epoch, compared with `spikeloom train`, and between trials
    throughput  parallel trials with one CPU each, compared with the same ones trained one after another
    asha        early stopping compared with the complete grid: best accuracy, and number of epochs
    many        200 short trials: memory of the driver and the object store, processes and files left behind

Each part runs real commands in separate processes. The trials of a grid are kept in --out, so that part can be resumed.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from benchmarks.measuring import Row, format_table
from pipeline.config.run_config import RunConfig, override, to_dict
from pipeline.presets.registry import find_preset
from preprocess.files import read_lines, write_json
from tune.search.search_plan import read_search

# The network and input are small, so that an epoch takes less than a second: the search is measured.
_SMALL = {"network.width": 0.25, "input.size": 17, "batch_size": 32, "binning.timesteps": 4}
_GRID = ("optimiser.learning_rate=0.0003,0.003,0.03,0.1,0.3,1", "neuron.tau=1.1,2,8", "neuron.name=lif,clif")
_TINY_GRID = ("optimiser.learning_rate=0.003,0.1", "neuron.name=lif,clif")


@dataclass(frozen=True)
class Arguments:
    """Measure a search.

    Example: python -m benchmarks.tune overhead --cache cache
    """

    part: Annotated[Literal["overhead", "throughput", "asha", "many"], tyro.conf.Positional]
    preset: str = "n-mnist-small"
    """The preset, whose data set is used; 225 of N-MNIST's 900 training samples are validation samples."""
    cache: Path = Path("cache")
    out: Path = Path("runs/benchmark-tune")
    repeats: int = 3
    """Number of timings, and number of seeds of the grid."""
    trials: int = 200
    """Number of trials of the part many."""
    plot: Path | None = None
    """File to which the part many draws its memory over time."""
    tiny: bool = False
    """Run only a few trials of two epochs, to check that the benchmark works."""


def main(arguments: Arguments) -> None:
    """Run one part and print its table."""
    parts: dict[str, Callable[[Arguments], Iterator[Row]]] = {
        "overhead": _overhead,
        "throughput": _throughput,
        "asha": _asha,
        "many": _many,
    }
    print(format_table(list(parts[arguments.part](arguments))))


def _config(arguments: Arguments, epochs: int, **changes: Any) -> RunConfig:
    base = find_preset(arguments.preset).config
    fraction = {"dataset.validation_fraction": 0.25, "schedule.epochs": epochs}
    return override(base, _SMALL | fraction | changes)


def _overhead(arguments: Arguments) -> Iterator[Row]:
    """Measure from the command to the first epoch on disk, and between successive trials in one actor."""
    config, epochs = _written(arguments, "overhead", 2), 2
    train, tune = [], []
    for k in range(arguments.repeats):
        train.append(_first_epoch(arguments, config, "train", f"train-{k}", []))
        argv = [
            "--space",
            "neuron.tau=1.5,2,3,4,5,6",
            "--scheduler",
            "none",
            "--final-seeds",
            "0",
            "--concurrent",
            "1",
        ]
        tune.append(_first_epoch(arguments, config, "tune", f"tune-{k}", argv))
    alone = statistics.median(train)
    over = statistics.median(tune) - alone
    yield Row(f"command to first epoch, beyond the {_s(alone)} of train", _s(over), "", over, 12, True)
    gaps: list[float] = []
    processes: list[int] = []
    for k in range(arguments.repeats):
        found, count = _gaps(arguments.out / f"tune-{k}", epochs)
        gaps += found
        processes.append(count)
    yield Row(
        "end of a trial to first batch of the next", _s(statistics.median(gaps)), "", statistics.median(gaps), 3, True
    )
    yield Row("processes for trials one after another", str(max(processes)), "", max(processes), 1, True)


def _written(arguments: Arguments, name: str, epochs: int, **changes: Any) -> Path:
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{name}.json"
    write_json(path, to_dict(_config(arguments, epochs, **changes)))
    return path


def _command(arguments: Arguments, command: str, config: Path, out: Path, argv: Sequence[str]) -> list[str]:
    place = ["--config", str(config), "--cache", str(arguments.cache), "--out", str(out)]
    return [sys.executable, "-m", "tune", command, *place, *argv]


def _first_epoch(arguments: Arguments, config: Path, command: str, name: str, argv: Sequence[str]) -> float:
    """Seconds from the command until the first metrics are on disk; the command runs to its end."""
    out = arguments.out / name
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    with _running(_command(arguments, command, config, out, argv)) as process:
        while not any(out.rglob("metrics.jsonl")):
            if process.poll() is not None:
                raise SystemExit(f"benchmarks: {command} ended before its first epoch")
            time.sleep(0.02)
        return time.perf_counter() - start


class _running:
    """Run a command in a new session, without its output; SystemExit if it fails."""

    def __init__(self, command: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True, text=True
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self.process

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.wait() and kind is None:
            self._errors.seek(0)
            raise SystemExit(f"benchmarks: a command failed: {self._errors.read()[-2000:]}")
        self._errors.close()


def _gaps(folder: Path, epochs: int) -> tuple[list[float], int]:
    """Seconds from the last epoch of a trial to the first batch of the next, and how many processes trained them."""
    spans, processes = [], set()
    for trial in sorted((folder / "trials").iterdir()):
        timings = read_lines(trial / "timings.jsonl")
        if len(timings) == epochs:
            spans.append((timings[0]["ended"] - timings[0]["epoch_s"], timings[-1]["ended"]))
            environment = json.loads((trial / "environment.json").read_text())
            processes.add((environment["host"], environment["process"]))
    spans.sort()
    return [after[0] - before[1] for before, after in itertools.pairwise(spans)], len(processes)


def _throughput(arguments: Arguments) -> Iterator[Row]:
    """Compare two parallel trials with one CPU each with `spikeloom train` of each in turn, with one thread."""
    epochs, taus = (2, (1.5, 2.0)) if arguments.tiny else (10, (1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 10.0))
    ratios, ours, others = [], [], []
    for k in range(1 if arguments.tiny else arguments.repeats):
        config = _written(arguments, "throughput", epochs, **{"network.width": 0.5, "input.size": None})
        argv = ["--space", f"neuron.tau={','.join(map(str, taus))}", "--scheduler", "none", "--final-seeds", "0"]
        argv += ["--concurrent", "2", "--cpus-per-trial", "1"]
        ours.append(_timed(_command(arguments, "tune", config, _fresh(arguments.out / f"two-{k}"), argv)))
        one_by_one = 0.0
        for tau in taus:
            out = _fresh(arguments.out / f"one-{k}-{tau}")
            argv = ["--neuron.tau", str(tau), "--threads", "1"]
            one_by_one += _timed(_command(arguments, "train", config, out, argv))
        others.append(one_by_one)
        ratios.append(one_by_one / ours[-1])
    ratio = statistics.median(ratios)
    yield Row(
        f"{len(taus)} trials, two in parallel",
        _s(statistics.median(ours)),
        f"train {_s(statistics.median(others))}",
        ratio,
        1.7,
    )


def _fresh(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return path


def _timed(command: Sequence[str]) -> float:
    start = time.perf_counter()
    with _running(command):
        pass
    return time.perf_counter() - start


def _s(seconds: float) -> str:
    return f"{seconds:.1f} s"


def _asha(arguments: Arguments) -> Iterator[Row]:
    """For each seed, compare the complete grid with early stopping: best validation accuracy, epochs, seconds."""
    epochs, grid = (2, _TINY_GRID) if arguments.tiny else (20, _GRID)
    gaps, shares = [], []
    print("| seed | grid: best, % | epochs | seconds | asha: best, % | epochs | seconds |\n|" + "---|" * 7)
    for k in range(arguments.repeats):
        seed = 2022 + k
        config = _written(arguments, f"asha-{seed}", epochs, seed=seed)
        found = {}
        for scheduler in ("none", "asha"):
            out = arguments.out / f"{scheduler}-{seed}"
            argv = ["--search", "grid", "--space", *grid, "--scheduler", scheduler, "--final-seeds", "0"]
            command = _command(arguments, "tune", config, out, argv)
            again = [*command[:4], "--resume", str(out)]
            seconds = _timed(again if (out / "search.json").exists() else command)
            found[scheduler] = (*_best_and_epochs(out), seconds)
        (whole, all_epochs, whole_s), (asha, some_epochs, asha_s) = found["none"], found["asha"]
        print(f"| {seed} | {whole:.2f} | {all_epochs} | {whole_s:.0f} | {asha:.2f} | {some_epochs} | {asha_s:.0f} |")
        gaps.append(whole - asha)
        shares.append(some_epochs / all_epochs)
    print()
    yield Row(
        "percentage points below the grid's best, mean",
        f"{statistics.fmean(gaps):.2f}",
        "",
        statistics.fmean(gaps),
        1,
        True,
    )
    yield Row(
        "epochs as a fraction of the grid's, mean",
        f"{statistics.fmean(shares):.2f}",
        "",
        statistics.fmean(shares),
        0.4,
        True,
    )


def _best_and_epochs(folder: Path) -> tuple[float, int]:
    """The best complete trial's validation accuracy in per cent, and the epochs of all."""
    from tune.search.search_findings import read_findings

    findings = read_findings(read_search(folder), folder)
    return 100 * findings.ranked[0]["validation_accuracy"], sum(row["epochs"] or 0 for row in findings.rows)


def _many(arguments: Arguments) -> Iterator[Row]:
    """Run hundreds of short trials: the memory of driver and object store, and what is left behind."""
    trials = 4 if arguments.tiny else arguments.trials
    config = _written(arguments, "many", 1, **{"network.width": 0.125})
    out = _fresh(arguments.out / "many")
    temporary = Path(tempfile.mkdtemp(prefix="b-", dir="/tmp"))
    argv = ["--space", "neuron.tau=1.1:8", "--samples", str(trials), "--scheduler", "none", "--final-seeds", "0"]
    command = _command(arguments, "tune", config, out, argv)
    samples: list[tuple[float, float, float]] = []
    spent, before = 0.0, _shared_memory_mb()
    environment = os.environ | {"TMPDIR": str(temporary)}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        done = len(list(out.glob("trials/*/done.json")))
        samples.append((done, _memory_mb(process.pid), _shared_memory_mb() - before))
        spent = _processor_s(process.pid) or spent
        time.sleep(1.0)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit("benchmarks: the search failed")
    # Torch creates an empty folder for its compiler when it is loaded.
    left = sorted(path.name for path in temporary.rglob("*") if not path.is_dir())
    alive = _processes_that_mention(str(temporary))
    shutil.rmtree(temporary)
    half = [row for row in samples if trials / 4 <= row[0] <= trials / 2]
    end = [row for row in samples if row[0] > trials / 2]
    if arguments.plot is not None:
        _draw(samples, arguments.plot)
    yield Row(f"{trials} trials", f"{seconds:.0f} s", "", seconds / trials, 60, True)
    if half and end:
        early, late = (statistics.median(row[1] for row in rows) for rows in (half, end))
        yield Row(
            "driver memory, second half over second quarter",
            f"{late:.0f} MB",
            f"then {early:.0f} MB",
            late / early,
            1.1,
            True,
        )
    yield Row("driver: processor time per trial", f"{1000 * spent / trials:.0f} ms", "", spent / trials, 0.5, True)
    store = max(row[2] for row in samples)
    yield Row("object store at most, MB", f"{store:.1f}", "", store, 32, True)
    yield Row("processes left", str(len(alive)), "", len(alive), 0, True)
    yield Row("temporary files left", " ".join(left) or "none", "", len(left), 0, True)


def _memory_mb(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS")), 0.0)


def _processor_s(process: int) -> float:
    """User and system time of a process so far; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _shared_memory_mb() -> float:
    """Used space of /dev/shm, which contains Ray's object store in an unlinked file."""
    state = os.statvfs("/dev/shm")
    return (state.f_blocks - state.f_bfree) * state.f_frsize / 1e6


def _processes_that_mention(text: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                known = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in known:
                found.append(int(folder.name))
    return found


def _draw(samples: Sequence[tuple[float, float, float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    done, memory, store = zip(*samples, strict=True)
    axes.plot(done, memory, label="driver, resident")
    axes.plot(done, store, label="object store")
    axes.set(xlabel="trials that ended", ylabel="MB", title="A search of short trials")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
