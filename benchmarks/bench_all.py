"""Run the benchmarks one after another and write their tables: ``make bench-all``.

Each is a process of its own. Its table goes to docs/benchmarks.md, between ``<!-- measured: NAME -->`` and ``<!-- end
-->``, with the machine, versions and commit below it; README.md has six of the rows. What has been measured at this
commit is kept in --out and is not measured again, so that an interrupted run continues.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro

from benchmarks.measured_tables import Summary, replace_block, row_cells, summary_table, table_lines
from pipeline.runs.environment_record import processor_name
from preprocess.files import read_json, write_json

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "numba", "numpy", "spikingjelly", "tonic")
DATA = "SPIKELOOM_TEST_DATA"


@dataclass(frozen=True)
class Part:
    """A benchmark.

    Attributes:
        name: Name of its place in docs/benchmarks.md.
        words: Its module in `benchmarks` and arguments; {n_mnist} is the folder of 4,000 real recordings, {cache} a
            cache of 1,000 others.
    """

    name: str
    words: tuple[str, ...]

    @property
    def needs_data(self) -> bool:
        return any("{" in word for word in self.words)


PARTS = (
    Part("preprocessing", ("preprocessing", "--repeats", "5")),
    Part("decoding", ("decoding", "--repeats", "7")),
    Part("small-recordings", ("small_recordings",)),
    Part("neurons", ("neurons", "--keep-memory")),
    Part("training", ("training", "--repeats", "5")),
    Part("training-gesture", ("training_gesture", "--repeats", "3")),
    Part("training-resnet", ("training_resnet", "--repeats", "3")),
    Part("training-transformer", ("training_transformer", "--repeats", "3")),
    Part("time-to-result", ("time_to_result", "one", "--source", "{n_mnist}", "--epochs", "4")),
    Part("time-to-search", ("time_to_result", "search", "--source", "{n_mnist}", "--epochs", "2", "--repeats", "1")),
    Part("search-start", ("tune", "overhead", "--cache", "{cache}")),
    Part("search-throughput", ("tune", "throughput", "--cache", "{cache}")),
    Part("search-early-stopping", ("tune", "asha", "--cache", "{cache}")),
    Part("search-many", ("tune", "many", "--cache", "{cache}", "--plot", "docs/tune-memory.png")),
    Part("trial-overhead", ("trial_overhead",)),
)

# The rows of README.md: benchmark, start of the row's work, and what README calls it.
SUMMARY = (
    Summary("preprocessing", "AEDAT 3.1,", "DVS-Gesture recording to events and frames, T = 20"),
    Summary("preprocessing", "another T", "another T from the same recordings"),
    Summary("preprocessing", "load 50 real gesture clips, 128×128", "load 50 cached gesture samples", peer="tonic"),
    Summary("neurons", "CLIF forward + backward, T = 10, 10.5 M", "CLIF layer, T = 10, 10.5 M element-steps"),
    Summary("training", "VGGSNN 48x48 training step, CLIF, fp32", "training step of VGGSNN with CLIF, fp32"),
    Summary("preprocessing", "disk: frames of real gesture clips", "size of cached gesture frames"),
)


@dataclass(frozen=True)
class Arguments:
    """Measure everything and write docs/benchmarks.md.

    Example: python -m benchmarks.bench_all --only training neurons
    """

    only: tuple[str, ...] = ()
    """Names of the benchmarks to run; default: all."""
    out: Path = Path("runs/benchmarks")
    """Folder of the measured tables, one file per benchmark."""
    again: bool = False
    """Measure again what has been measured at this commit."""
    tiny: bool = False
    """Only check that results are equal; the printed times mean nothing."""
    docs: Path = REPOSITORY / "docs" / "benchmarks.md"
    readme: Path = REPOSITORY / "README.md"


def main(arguments: Arguments) -> int:
    """Measure, write the tables, and return 1 if a benchmark failed."""
    unknown = set(arguments.only) - {part.name for part in PARTS}
    if unknown:
        names = ", ".join(part.name for part in PARTS)
        raise SystemExit(f"benchmarks: --only: expected some of {names}, found {', '.join(sorted(unknown))}")
    failed = []
    for part in PARTS:
        if arguments.only and part.name not in arguments.only:
            continue
        message = measure(part, arguments)
        if message:
            failed.append(part.name)
            print(f"benchmarks: {part.name}: {message}", file=sys.stderr, flush=True)
    write_tables(arguments)
    if failed:
        print(f"benchmarks: not measured: {', '.join(failed)}; their tables are as before", file=sys.stderr)
    return 1 if failed else 0


def measure(part: Part, arguments: Arguments) -> str:
    """Run a benchmark and keep its table; what went wrong, or an empty text."""
    file = arguments.out / f"{part.name}.json"
    commit = current_commit()
    known = read_json(file)
    if known is not None and known["commit"] == commit and not arguments.again and not commit.endswith("+"):
        return ""
    data = os.environ.get(DATA)
    if part.needs_data and not data:
        return f"expected the folder of real recordings in ${DATA}, found none"
    words = [
        word.format(n_mnist=Path(data or "") / "n-mnist-1ms", cache=arguments.out / "cache") for word in part.words
    ]
    if str(arguments.out / "cache") in words:
        source = ["--source", str(Path(data or "") / "n-mnist"), "--cache", str(arguments.out / "cache")]
        subprocess.run([sys.executable, "-m", "preprocess", "preprocess", "n-mnist", *source], check=True)
    print(f"benchmarks: python -m benchmarks.{' '.join(words)}", file=sys.stderr, flush=True)
    load, start = os.getloadavg()[0], time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:], *(["--tiny"] if arguments.tiny else [])]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return f"ended with exit code {done.returncode}"
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(
        file,
        {
            "command": f"python -m benchmarks.{' '.join(part.words)}",
            "table": table_lines(done.stdout),
            "commit": commit,
            "date": dt.date.today().isoformat(),
            "processor": processor_name(),
            "processors": len(os.sched_getaffinity(0)),
            "load_before": round(load, 2),
            "seconds": round(time.perf_counter() - start),
            "versions": {name: version(name) for name in PACKAGES},
        },
    )
    return ""


def current_commit() -> str:
    """The checkout's commit, with + behind it if files differ from it."""
    words = ["git", "describe", "--always", "--exclude", "*", "--dirty=+"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown+"


def write_tables(arguments: Arguments) -> None:
    """Write what has been measured into the pages; a table that has not been measured stays as it is."""
    found = {part.name: record for part in PARTS if (record := read_json(arguments.out / f"{part.name}.json"))}
    text = arguments.docs.read_text()
    for name, record in found.items():
        text = replace_block(text, name, [*record["table"], "", provenance(record)], str(arguments.docs))
    arguments.docs.write_text(text)
    rows = list(summary_rows(found))
    if len(rows) == len(SUMMARY):
        page = arguments.readme.read_text()
        arguments.readme.write_text(replace_block(page, "summary", summary_table(rows), str(arguments.readme)))


def provenance(record: Mapping[str, Any]) -> str:
    """The sentence below a table."""
    command = record["command"].format(n_mnist="N-MNIST", cache="CACHE")
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"Measured on {record['date']} at commit {record['commit']} by `{command}` "
        f"in {record['seconds']} s on {record['processors']} cores ({record['processor']}, load before: "
        f"{record['load_before']:g}); {versions}."
    )


def summary_rows(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    """The cells of README's rows that have been measured."""
    for row in SUMMARY:
        cells = row_cells(found[row.part]["table"], row) if row.part in found else None
        if cells is not None:
            yield cells


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
