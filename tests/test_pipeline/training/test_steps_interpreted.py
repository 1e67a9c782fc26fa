"""Whole training steps through the Triton kernels, under Triton's interpreter: equal to those through the CPU's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from interpreted_steps import APART, CASES, UPDATES
from patience import PATIENCE_S
from tolerances import TOLERANCE

pytest.importorskip("triton", reason="Triton comes with torch for CUDA only")

TESTS = Path(__file__).resolve().parents[2]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.fixture(scope="module")
def results() -> dict[str, dict]:
    variables = {"OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1", "PYTHONPATH": str(TESTS.parent)}
    ended = subprocess.run(
        [sys.executable, str(TESTS / "interpreted_steps.py")],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr
    return {row["case"]: row for row in map(json.loads, ended.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_steps_through_triton_equal_those_through_the_cpus_kernels(results: dict[str, dict], case: str):
    row, precision = results[case], CASES[case]["precision"]
    tolerance = TOLERANCE[DTYPES[precision]]
    together = {"forward with norm", "backward with norm", "moments", "settle", "finish"}
    expected = {"forward", "backward"} if case in APART or case == "recurrent" else together
    assert expected <= set(row["launches"]) and min(row["launches"].values()) >= UPDATES[precision]
    assert case not in APART or not together & set(row["launches"])
    assert all(size > 0 for part, size in row["sizes"].items() if part != "scale" or precision == "fp16")
    assert {part: apart for part, apart in row["apart"].items() if not apart <= tolerance} == {}
