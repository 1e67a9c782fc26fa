"""Whether everything holds on a GPU, in less than ten minutes: ``python -m benchmarks.gpu_acceptance``.

The parts run one after another, in order of value, each in a process with a limit of time. Started again, the command
runs only those that have not passed with this code on this GPU. At the end: a table, a JSON file if one is asked for,
and a line for each promise of `benchmarks.promises` that was not kept. Exit code 1 if there is any, 2 without a GPU.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from benchmarks.part_runner import Part, Record, measurements_of, run_parts
from benchmarks.promises import PROMISES, Promise
from preprocess.files import write_json

REPOSITORY = Path(__file__).resolve().parent.parent
TOTAL_S = 590.0


@dataclass(frozen=True)
class Arguments:
    """Run the acceptance on the first GPU.

    Example: python -m benchmarks.gpu_acceptance --json acceptance.json
    """

    out: Path = Path("runs/gpu-acceptance")
    """Folder of outputs and records; parts that it says have passed are not run again."""
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File to write the result to."""
    recordings: Path | None = None
    """Folder of N-MNIST's recordings, to train on instead of emulated digits."""


def main(arguments: Arguments) -> int:
    """Run the parts and print the result; return the exit code."""
    if not torch.cuda.is_available():
        print(
            "benchmarks.gpu_acceptance: expected a CUDA device, found none. Run it on a GPU machine.", file=sys.stderr
        )
        return 2
    gpu = torch.cuda.get_device_name()
    basis = {"commit": commit(REPOSITORY), "gpu": gpu, "torch": str(torch.__version__)}
    parts = parts_of(arguments.out.absolute(), arguments.recordings)
    return accept(parts, PROMISES, arguments.out, basis, total_s=TOTAL_S, json_file=arguments.json_file)


def parts_of(out: Path, recordings: Path | None) -> list[Part]:
    """The parts in order of value; their limits add up to less than ten minutes."""
    work = out / "work"
    # Collecting the complete suite takes longer than these tests.
    files = sorted(
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        if "pytest.mark.gpu" in path.read_text()
    )
    raw = [] if recordings is None else ["--recordings", str(recordings.absolute())]
    return [
        # Their own run of the kernels' benchmark is the next part.
        Part("gpu-tests", python("pytest", "-m", "gpu", "-k", "not benchmark", "-p", "no:cacheprovider", *files), 120),
        Part("neurons", python("benchmarks.neurons_gpu"), 130),
        Part("gesture-step", python("benchmarks.training_gpu", "gesture"), 90),
        Part("vggsnn-step", python("benchmarks.training_gpu", "vggsnn"), 60),
        Part("training", python("benchmarks.acceptance_runs", "training", "--out", str(work), *raw), 100),
        Part("search", python("benchmarks.acceptance_runs", "search", "--out", str(work), "--epochs", "20", *raw), 80),
    ]


def python(module: str, *argv: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *argv]


def accept(
    parts: Sequence[Part],
    promises: Sequence[Promise],
    out: Path,
    basis: Mapping[str, str],
    *,
    total_s: float,
    json_file: Path | None = None,
) -> int:
    """Run the parts, print table and failures, and write the JSON file; return 0 if every promise was kept, else 1.

    Every part promises to pass, besides what `promises` say of its measurements.
    """
    records = run_parts(
        parts, out, basis, total_s=total_s, report=lambda line: print(line, file=sys.stderr, flush=True)
    )
    measurements = {record.name: measurements_of(out, record) for record in records}
    failures = failures_of(records, promises, measurements, out)
    print(format_report(records, promises, measurements))
    for line in failures:
        print(line)
    print(f"{len(failures)} promises failed" if failures else "every promise was kept")
    if json_file is not None:
        write_json(
            json_file,
            {
                **basis,
                "parts": [asdict(record) | {"measurements": measurements[record.name]} for record in records],
                "promises": [asdict(promise) for promise in promises],
                "failures": failures,
            },
        )
    return 1 if failures else 0


def failures_of(
    records: Sequence[Record], promises: Sequence[Promise], measurements: Mapping[str, list[dict[str, Any]]], out: Path
) -> list[str]:
    """A line for every part that did not pass and every promise that was not kept."""
    lines = []
    for record in records:
        if not record.passed:
            ended = f"{record.status} after {record.seconds:.0f} s" if record.seconds else record.status
            lines.append(f"{record.name}: expected exit code 0, found: {ended}. See {out / record.name / 'output.txt'}")
        values = {entry["name"]: entry["value"] for entry in measurements[record.name]}
        found = (promise.failure(values) for promise in promises if promise.part == record.name)
        lines += [line for line in found if line is not None]
    return lines


def format_report(
    records: Sequence[Record], promises: Sequence[Promise], measurements: Mapping[str, list[dict[str, Any]]]
) -> str:
    """A Markdown table of all parts with their measurements."""
    bounds = {(promise.part, promise.name): promise for promise in promises}
    lines = ["| part | result | figure | promised | kept |", "|---|---|---|---|---|"]
    for record in records:
        lines.append(f"| {record.name} | {record.status} | {record.seconds:.0f} s | | |")
        for entry in measurements[record.name]:
            promise = bounds.get((record.name, entry["name"]))
            note = f" ({entry['note']})" if entry["note"] else ""
            figure = f"{entry['value']:.4g} {entry['unit']}".strip() + note
            kept = "" if promise is None else "yes" if promise.is_kept(entry["value"]) else "NO"
            lines.append(f"| | {entry['name']} | {figure} | {promise.bound if promise else ''} | {kept} |")
    return "\n".join(lines)


def commit(folder: Path) -> str:
    """The commit of a checkout, and a digest of the changes if tracked files differ from it; unknown without git."""
    described, changed = _git(folder, "rev-parse", "--short=12", "HEAD"), _git(folder, "diff", "HEAD")
    if changed:
        return f"{described}+{hashlib.sha256(changed.encode()).hexdigest()[:12]}"
    return described or "unknown"


def _git(folder: Path, *argv: str) -> str:
    try:
        found = subprocess.run(["git", *argv], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
