"""The acceptance of a GPU without one: its logic, with small programs, real processes, in place of the parts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_acceptance import Arguments, accept, main, parts_of
from benchmarks.measurements import VARIABLE, measured, read_measurements
from benchmarks.part_runner import Part, Record, run_parts
from benchmarks.promises import PROMISES, Promise

REPOSITORY = Path(__file__).resolve().parent.parent
BASIS = {"commit": "abc", "gpu": "made up"}
# A measurement as any program can write it.
MEASURE = f"import json, os; file = open(os.environ['{VARIABLE}'], 'a'); write = lambda name, value: print(json.dumps("
MEASURE += "{'name': name, 'value': value, 'unit': '', 'note': ''}), file=file, flush=True)\n"
# Leaves a line in a file each time it runs.
COUNTED = "import os; print('ran', file=open(os.environ['RUNS'], 'a'))\n"


def part(name: str, script: str, *, limit_s: float = 30.0, **environment: str) -> Part:
    return Part(name, [sys.executable, "-c", textwrap.dedent(script)], limit_s, environment)


def run(parts: list[Part], folder: Path, *, total_s: float = 60.0, basis: dict[str, str] = BASIS) -> dict[str, Record]:
    return {record.name: record for record in run_parts(parts, folder, basis, total_s=total_s)}


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_parts_that_pass_fail_and_crash_are_told_apart_and_stop_no_others(tmp_path: Path):
    found = run(
        [
            part("crashes", "import os; print('before', flush=True); os.abort()"),
            part("fails", "raise SystemExit('expected 1, found 2')"),
            part("passes", "print('fine')"),
        ],
        tmp_path,
    )
    assert {name: record.status for name, record in found.items()} == {
        "crashes": "crashed",
        "fails": "failed",
        "passes": "passed",
    }
    assert found["crashes"].code == -signal.SIGABRT and found["fails"].code == 1
    assert (tmp_path / "crashes/output.txt").read_text().startswith("before")
    assert "expected 1, found 2" in (tmp_path / "fails/output.txt").read_text()


@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="descendants are found where Linux lists them")
def test_a_part_that_hangs_is_killed_with_all_its_children_and_its_output_is_kept(tmp_path: Path):
    # The child ignores SIGTERM, and its child is in a session of its own, where signals to the group do not reach it.
    script = MEASURE + textwrap.dedent("""
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = subprocess.Popen(sleep, start_new_session=True)
        write("speed", 3.5)
        print(os.getpid(), child.pid, flush=True)
        time.sleep(600)
    """)
    start = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.part_runner._GRACE_S", 0.2)
        record = run([part("hangs", script, limit_s=2.0)], tmp_path)["hangs"]
    assert record.status == "timed out" and time.monotonic() - start < 30
    processes = [int(word) for word in (tmp_path / "hangs/output.txt").read_text().split()]
    assert len(processes) == 2 and not any(map(is_running, processes))
    assert [entry["value"] for entry in read_measurements(tmp_path / "hangs/measurements.jsonl")] == [3.5]


def test_what_a_part_leaves_running_is_ended_before_the_next_part(tmp_path: Path):
    script = """
        import subprocess, sys
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        print(subprocess.Popen(sleep, start_new_session=True).pid, flush=True)
    """
    assert run([part("leaves", script)], tmp_path)["leaves"].passed
    assert not is_running(int((tmp_path / "leaves/output.txt").read_text()))


def test_only_parts_that_passed_on_the_same_basis_are_not_repeated(tmp_path: Path):
    runs = tmp_path / "runs.txt"
    parts = [
        part("passes", COUNTED, RUNS=str(runs)),
        part("fails", COUNTED + "raise SystemExit(1)", RUNS=str(runs)),
    ]

    def times(basis: dict[str, str] = BASIS) -> int:
        before = len(runs.read_text().splitlines()) if runs.exists() else 0
        run(parts, tmp_path / "out", basis=basis)
        return len(runs.read_text().splitlines()) - before

    assert [times(), times(), times(BASIS | {"commit": "def"})] == [2, 1, 2]
    (tmp_path / "out/passes/record.json").write_text("{")
    assert times(BASIS | {"commit": "def"}) == 2


def test_an_interrupted_acceptance_ends_its_part_and_continues_there(tmp_path: Path):
    """Ctrl-C in the second of two parts; the next start repeats this one only."""
    runs = tmp_path / "runs.txt"
    program = f"""
        import sys
        from pathlib import Path
        from benchmarks.part_runner import Part, run_parts
        waits = "import os, time; print('ran', file=open({str(runs)!r}, 'a')); print(os.getpid(), flush=True);"
        waits += "time.sleep(float(os.environ['WAIT']))"
        command = [sys.executable, "-c", waits]
        parts = [Part("first", command, 30, {{"WAIT": "0"}}), Part("second", command, 30, {{"WAIT": sys.argv[1]}})]
        found = run_parts(parts, Path({str(tmp_path / "out")!r}), {{}}, total_s=60.0)
        print([record.status for record in found])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    started = subprocess.Popen([*command, "600"], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    output = tmp_path / "out/second/output.txt"
    while not (output.exists() and output.read_text().endswith("\n")):
        assert started.poll() is None
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in started.communicate()[1]
    assert not is_running(int(output.read_text()))
    again = subprocess.run([*command, "0"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert again.stdout == "['passed', 'passed']\n"
    assert len(runs.read_text().splitlines()) == 3


def test_no_part_runs_beyond_the_total_time(tmp_path: Path):
    found = run([part("hangs", "import time; time.sleep(600)"), part("never", "")], tmp_path, total_s=0.5)
    assert [record.status for record in found.values()] == ["timed out", "not started"]
    assert not (tmp_path / "never").exists()


def test_table_json_and_exit_code_say_what_was_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    parts = [
        part("speed", MEASURE + "write('ratio', 1.25); write('memory', 0.9); write('other', 7)"),
        part("broken", MEASURE + "write('accuracy', 0.5); raise SystemExit(3)"),
    ]
    kept = [Promise("speed", "ratio", "faster than its peer", 1.2), Promise("speed", "memory", "needs less", None, 1.0)]
    missed = [
        Promise("broken", "accuracy", "accuracy of the run", 0.85),
        Promise("broken", "waiting", "share of waiting", None, 0.2),
    ]

    def code(parts: list[Part], promises: list[Promise]) -> tuple[int, list[str]]:
        file = tmp_path / "found.json"
        code = accept(parts, promises, tmp_path / "out", BASIS, total_s=60.0, json_file=file)
        found = json.loads(file.read_text())
        assert found["gpu"] == "made up" and len(found["parts"]) == len(parts) == len(
            {p["name"] for p in found["parts"]}
        )
        assert found["parts"][0]["measurements"][0]["value"] == 1.25
        return code, found["failures"]

    assert code(parts[:1], kept) == (0, [])
    out = capsys.readouterr().out
    assert "| | ratio | 1.25 | >= 1.2 | yes |" in out and "| | other | 7 |  |  |" in out
    assert out.endswith("every promise was kept\n")
    ended, failures = code(parts, kept + missed)
    out = capsys.readouterr().out
    assert ended == 1 and out.splitlines()[-4:-1] == failures and out.endswith("3 promises failed\n")
    assert "| | accuracy | 0.5 | >= 0.85 | NO |" in out
    assert failures[0].startswith("broken: expected exit code 0, found: failed after")
    assert failures[1:] == [
        "broken: accuracy of the run: expected >= 0.85, found 0.5",
        "broken: share of waiting: expected <= 0.2, not measured",
    ]


def test_a_measurement_that_is_cut_short_or_not_finite_counts_as_missing(tmp_path: Path, monkeypatch):
    path = tmp_path / "measurements.jsonl"
    measured("nobody reads this", 1.0)
    monkeypatch.setenv(VARIABLE, str(path))
    measured("speed", 1.0)
    measured("speed", 2.0, "1/s")
    measured("loss", float("nan"))
    with path.open("a") as file:
        file.write('{"name": "cut')
    found = read_measurements(path)
    assert [(entry["name"], entry["value"], entry["unit"]) for entry in found] == [("speed", 2.0, "1/s")]


def test_every_promise_is_of_a_part_and_all_parts_fit_into_ten_minutes(tmp_path: Path):
    parts = parts_of(tmp_path, None)
    assert {promise.part for promise in PROMISES} <= {part.name for part in parts}
    assert len({(promise.part, promise.name) for promise in PROMISES}) == len(PROMISES)
    assert sum(part.limit_s for part in parts) < 600
    (tests,) = (part.command for part in parts if part.name == "gpu-tests")
    assert any(word.endswith("test_training_on_cuda.py") for word in tests)
    assert "test_gpu_acceptance.py" not in " ".join(tests)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(Arguments(out=tmp_path / "out")) == 2
    expected = "benchmarks.gpu_acceptance: expected a CUDA device, found none. Run it on a GPU machine.\n"
    assert capsys.readouterr().err == expected and not (tmp_path / "out").exists()
