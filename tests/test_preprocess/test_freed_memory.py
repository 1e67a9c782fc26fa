"""Freed memory that stays with the process is not fetched anew."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own, because the setting lasts.
FAULTS = """
import resource
import numpy as np
from preprocess.freed_memory import keep_freed_memory
def faults():
    # The allocator finds a place that lasts after a few rounds.
    for _ in range(20):
        np.ones(10_000_000, np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(10_000_000, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
keep_freed_memory()
print(faults())
"""


def test_kept_memory_does_not_fault_again():
    result = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True, timeout=600)
    before, kept = map(int, result.stdout.split())
    # An array of 40 MB is 20 huge pages, or 10,000 small ones.
    assert before >= 4 * 20
    assert kept == 0
