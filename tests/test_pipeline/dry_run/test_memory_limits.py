"""What memory there is for a step, and that a step for which there is none is not run and said not to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.cli import COMMANDS
from pipeline.config.run_config import to_dict
from pipeline.dry_run.available_memory import available_bytes
from pipeline.dry_run.dry_run import dry_run
from pipeline.dry_run.measured_peak import peak_of_one_step
from pipeline.training.learner import Learner
from preprocess.errors import FullMemoryError
from preprocess.terminal.command_line import run_main

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("memory"))


def leave(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    for module in ("dry_run", "measured_peak"):
        monkeypatch.setattr(f"pipeline.dry_run.{module}.available_bytes", lambda _: room)


def no_step(*_: object) -> None:
    raise AssertionError("a step was run")


def system(folder: Path, *, cgroup: str, **files: str) -> tuple[torch.device, Path, Path]:
    """A made-up /proc and /sys/fs/cgroup; files are named with __ for /."""
    texts = {"proc/meminfo": "MemTotal: 99 kB\nMemAvailable:  8000 kB\n", "proc/self/cgroup": cgroup}
    for name, text in (texts | {f"groups/{name.replace('__', '/')}": text for name, text in files.items()}).items():
        path = folder / name.replace("/memory_", "/memory.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return CPU, folder / "proc", folder / "groups"


def test_available_memory_is_the_least_of_the_machine_and_of_every_group_around_the_process(tmp_path: Path):
    assert available_bytes(*system(tmp_path / "plain", cgroup="")) == 8_192_000
    two = {"job__memory_max": "5000000\n", "job__memory_current": "3000000\n", "job__step__memory_max": "max\n"}
    stat = {"job__memory_stat": "active_file 7\ninactive_file 1000000\n", "job__step__memory_current": "1\n"}
    assert available_bytes(*system(tmp_path / "two", cgroup="0::/job/step\n", **two, **stat)) == 3_000_000
    one = {"memory__memory_limit_in_bytes": "2000000\n", "memory__memory_usage_in_bytes": "2500000\n"}
    # In a container the host's path of the group is not there.
    cgroup = "5:cpu,cpuacct:/\n4:memory:/host/path\n"
    assert available_bytes(*system(tmp_path / "one", cgroup=cgroup, **one)) == 0
    assert available_bytes(CPU, tmp_path / "none", tmp_path / "none") is None


def test_this_machine_says_what_is_available():
    room = available_bytes(CPU)
    assert room is not None and room > 2**20


@pytest.mark.parametrize("forward", [True, False])
def test_a_dry_run_skips_the_step_that_memory_does_not_hold(cache: Path, monkeypatch, forward: bool):
    whole = dry_run(TINY, cache)
    kept = whole["step"]["kept_bytes_per_sample"]
    # Room for a forward pass, which measures what it keeps; or for none at all.
    leave(monkeypatch, round(2.5 * kept) if forward else 1000)
    monkeypatch.setattr(Learner, "update", no_step)
    if not forward:
        monkeypatch.setattr(Learner, "loss", no_step)
    report = dry_run(TINY, cache)
    step = report["step"]
    assert step["loss"] is None and step["seconds"] is None and step["skipped"] in report["notes"]
    assert "the step was not run, because for 1 sample it needs about" in step["skipped"]
    computed = report["memory_bytes"]["activations"] / whole["memory_bytes"]["activations"]
    assert computed == pytest.approx(1.0, rel=0.05) if forward else 1.0 < computed < 2.0


def test_the_table_says_once_why_the_step_was_not_run(cache: Path, tmp_path: Path, monkeypatch, capsys):
    leave(monkeypatch, 1000)
    (tmp_path / "tiny.json").write_text(json.dumps(to_dict(TINY)))
    words = ["train", "--config", str(tmp_path / "tiny.json"), "--cache", str(cache), "--dry-run"]
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=words) == 0
    out = capsys.readouterr().out
    assert out.count("the step was not run") == 1 and "not run; see the note" in out


def test_a_step_is_measured_unless_it_surely_does_not_fit(cache: Path, monkeypatch):
    assert peak_of_one_step(TINY, cache)[0] > 0
    leave(monkeypatch, 1000)
    monkeypatch.setattr(Learner, "loss", no_step)
    with pytest.raises(FullMemoryError, match=r"expected at least .* GB for a training step, found 1e-06 GB free"):
        peak_of_one_step(TINY, cache)
