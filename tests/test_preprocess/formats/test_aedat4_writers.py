"""Files that other packages write: dv-processing 2.0 and faery, from an interpreter that has them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from aedat4_files import NAMES

from preprocess.events import Events
from preprocess.formats import open_recording

_EVENTS = """
import sys, numpy as np
rng = np.random.default_rng(1)
n = 30_000
t = 1_700_000_000_000_000 + np.cumsum(rng.integers(0, 4, n))
x, y, p = rng.integers(0, 346, n), rng.integers(0, 260, n), rng.integers(0, 2, n)
folder = sys.argv[1]
np.savez(folder + "/written.npz", t=t, x=x, y=y, p=p)
"""

_DV_PROCESSING = """
import dv_processing as dv
for name, compression in dv.CompressionType.__members__.items():
    config = dv.io.MonoCameraWriter.EventOnlyConfig("DAVIS346_TEST", (346, 260), compression)
    writer = dv.io.MonoCameraWriter(f"{folder}/{name}.aedat4", config)
    for at in range(0, n, 7000):
        store = dv.EventStore()
        for k in range(at, min(at + 7000, n)):
            store.push_back(int(t[k]), int(x[k]), int(y[k]), bool(p[k]))
        writer.writeEvents(store)
    del writer
"""

_FAERY = """
import faery
events = np.zeros(n, faery.EVENTS_DTYPE)
events["t"], events["x"], events["y"], events["on"] = t, x, y, p
ways = {"NONE": None, "LZ4": faery.aedat.LZ4_DEFAULT, "ZSTD": faery.aedat.ZSTD_DEFAULT}
for name, compression in ways.items():
    stream = faery.events_stream_from_array(events, (346, 260))
    stream.to_file(f"{folder}/{name}.aedat4", compression=compression)
"""


@pytest.mark.parametrize(
    ("package", "script", "names"),
    [("dv_processing", _DV_PROCESSING, NAMES), ("faery", _FAERY, ("NONE", "LZ4", "ZSTD"))],
)
def test_what_other_packages_write_is_read(tmp_path: Path, package: str, script: str, names: tuple[str, ...]):
    python = os.environ.get("SPIKELOOM_PEERS")
    if not python:
        pytest.skip(f"no {package}: set SPIKELOOM_PEERS to an interpreter that has it")
    found = subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"{python} has no {package}")
    done = subprocess.run([python, "-c", _EVENTS + script, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "written.npz") as written:
        for name in names:
            opened = open_recording(tmp_path / f"{name}.aedat4")
            assert (opened.height, opened.width) == (260, 346), json.dumps(opened.header)
            events = Events.concatenate(opened.chunks(), 260, 346)
            for column in "txyp":
                np.testing.assert_array_equal(getattr(events, column), written[column])
