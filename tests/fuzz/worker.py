"""The fuzzing process: ``python -m tests.fuzz.worker``, started by `supervisor`, reads inputs until its time is up.

Engines: ``mutator`` changes the seeds at random (`mutators`); ``atheris`` lets libFuzzer choose inputs by the coverage
of the product's Python code, with the same changes beside its own. Findings do not end the process, except crashes,
hangs and memory, after which `supervisor` starts another one.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import importlib
import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("preprocess", "pipeline", "tune")
# Libraries whose Python code decides about a file together with the product's.
_LIBRARIES = ("zipfile", "tarfile", "gzip", "pickletools", "rosbags")
_PEAK = re.compile(rb"VmHWM:\s*(\d+) kB")
INPUT, HEARTBEAT, TRACE, ENDED = "input", "heartbeat", "trace.txt", "ended"


@dataclass(frozen=True)
class Job:
    """What a fuzzing process does; the arguments of the command line.

    Attributes:
        module: The module that has TARGETS, by name, below this package.
        target: The name of the target.
        engine: mutator or atheris.
        seconds: Processor time of reading inputs.
        seed: Seed of all random choices.
        folder: Where the working files are; in memory if possible.
        findings: Where inputs with findings are kept.
        memory_mb: By how much an input may raise the memory of the process.
    """

    module: str
    target: str
    engine: str
    seconds: float
    seed: int
    folder: Path
    findings: Path
    memory_mb: int

    def argv(self) -> list[str]:
        """The arguments of the command line."""
        return [json.dumps({name: str(value) for name, value in vars(self).items()})]

    @staticmethod
    def parse(text: str) -> Job:
        """The inverse of `argv`."""
        given = json.loads(text)
        return Job(
            given["module"], given["target"], given["engine"], float(given["seconds"]), int(given["seed"]),
            Path(given["folder"]), Path(given["findings"]), int(given["memory_mb"]),
        )  # fmt: skip


def keep(findings: Path, kind: str, place: str, content: bytes, details: str) -> bool:
    """Keep an input with a finding, and a text about it; False if one of this kind and place is kept already."""
    digest = hashlib.sha256(f"{kind} {place}".encode()).hexdigest()[:10]
    path = findings / f"{kind.replace(' ', '-')}-{digest}"
    if path.exists():
        return False
    findings.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.with_suffix(".txt").write_text(f"{kind} {place}\n{details}\n", errors="replace")
    return True


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.worker", description=__doc__)
    parser.add_argument("job", type=Job.parse)
    job = parser.parse_args(argv).job
    # The helpers of the tests are imported by their names alone.
    sys.path.insert(0, str(REPOSITORY / "tests"))
    trace = (job.folder / TRACE).open("w")
    faulthandler.enable(trace)
    # `supervisor` sends it to a process that hangs.
    faulthandler.register(signal.SIGUSR1, trace)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with _instrumented() if job.engine == "atheris" else contextlib.nullcontext():
        targets = importlib.import_module(f".{job.module}", __package__).TARGETS
    _Fuzzing(job, targets[job.target]).run()


@contextlib.contextmanager
def _instrumented() -> Iterator[None]:
    """Instrument what is imported, except kernels, which Numba could not compile then."""
    import atheris

    texts = {path: path.read_text() for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")}
    compiled = [
        path
        for path, text in texts.items()
        if "compile_kernel" in text or "import numba" in text or "from numba" in text
    ]
    excluded = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in compiled]
    for name in _LIBRARIES:
        sys.modules.pop(name, None)
    with atheris.instrument_imports(include=[*PACKAGES, *_LIBRARIES], exclude=excluded, enable_loader_override=False):
        yield


class _Fuzzing:
    """Reads inputs of one target."""

    def __init__(self, job: Job, target: object) -> None:
        from .heartbeat import Heartbeat
        from .mutators import Mutations
        from .target import Room, Target

        assert isinstance(target, Target)
        self.job, self._target = job, target
        self._heartbeat = Heartbeat(job.folder / HEARTBEAT)
        self._input = job.folder / INPUT
        self.seeds = target.contents(job.folder / "seeds")
        self._mutations = Mutations(self.seeds, target.mutators, job.seed)
        self._room = Room(job.folder / "room", target)
        self._end, self._most_kb = 0.0, sys.maxsize
        self._supervisor = os.getppid()

    def run(self) -> None:
        """Read the seeds, then other inputs until the time is up."""
        for content in self.seeds:
            self._run_once(content)
        # Kernels are compiled and libraries loaded: what follows may not need much more memory.
        self._most_kb = _peak_kb() + self.job.memory_mb * 1024
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = used + (self.job.memory_mb << 20) + (1 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        if self.job.engine == "atheris":
            self._run_atheris()
        while True:
            self.read(self._mutations.next())

    def read(self, content: bytes) -> None:
        """Read one input; ends the process when the time is up, or after too much memory."""
        self._heartbeat.start()
        # libFuzzer needs seconds to start.
        self._end = self._end or time.process_time() + self.job.seconds
        outcome = self._run_once(content)
        self._heartbeat.finish(read=outcome == "read")
        if _peak_kb() > self._most_kb:
            self._end_process("memory")
        if time.process_time() > self._end:
            self._end_process("time")
        if os.getppid() != self._supervisor:
            # It was killed, and nobody watches any more.
            self._end_process("no supervisor")

    def _end_process(self, why: str) -> None:
        """Say why, and end at once: libFuzzer would take every exit for a crash."""
        (self.job.folder / ENDED).write_text(why)
        os.kill(os.getpid(), signal.SIGKILL)

    def _run_once(self, content: bytes) -> str:
        """Read one input and keep it if there is a finding; returns the outcome."""
        from .target import Finding

        self._input.write_bytes(content)
        try:
            outcome = self._room.run(content)
        except Finding as finding:
            keep(self.job.findings, finding.kind, finding.place, content, finding.details)
            return finding.kind
        if outcome == "read":
            self._mutations.keep(content)
        return outcome

    def _run_atheris(self) -> None:
        import atheris
        import numpy as np

        corpus = self.job.folder / "corpus"
        corpus.mkdir()
        for number, content in enumerate(self.seeds):
            (corpus / f"seed-{number}").write_bytes(content)
        longest = 2 * max(4096, *map(len, self.seeds))

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            rng = np.random.default_rng(seed)
            if not data or rng.integers(2):
                return bytes(atheris.Mutate(data, most))
            return self._mutations.change(data, rng)[:most]

        # The supervisor watches time and memory; libFuzzer would end the process at the first finding.
        options = [f"-artifact_prefix={self.job.folder}/", f"-seed={self.job.seed + 1}", f"-max_len={longest}"]
        options += ["-timeout=1000000", "-rss_limit_mb=0", "-verbosity=0"]
        atheris.Setup(["fuzz", *options, str(corpus)], self.read, custom_mutator=mutate, internal_libfuzzer=True)
        atheris.Fuzz()


def _peak_kb() -> int:
    """The most memory that the process has had, KiB."""
    # The number of getrusage begins with that of the process that started this one.
    found = _PEAK.search(Path("/proc/self/status").read_bytes())
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main(sys.argv[1:])
