"""verify reads everything: damage, stale frames, wrong counts and changed recordings are told by file and sample."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pytest
from tiny_layout import random_events, save_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_every_frames
from preprocess.cli import COMMANDS
from preprocess.errors import CacheError
from preprocess.inspection.verify import Verified, verify_cache
from preprocess.terminal.command_line import run_main


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    layout = tiny_layout(tmp_path / "src", [random_events(i, 100 + i) for i in range(8)])
    build_event_store(layout, tmp_path / "cache")
    ensure_every_frames(tmp_path / "cache", "tiny", [Binning(4), Binning(3, "time", 2)])
    return tmp_path / "cache"


def errors(results: list[Verified]) -> list[str]:
    return [message for result in results for message in result.errors]


def test_a_whole_cache_is_told_so(cache: Path, tmp_path: Path):
    for folder in (cache, cache / "tiny"):
        results = verify_cache(folder)
        assert errors(results) == []
        assert [(r.path.name, r.samples) for r in results] == [
            ("events.h5", 8),
            ("src", 8),
            ("number-T4-8x10.h5", 8),
            ("time-T3-4x5.h5", 8),
        ]
        assert [r.events for r in results] == [828, 0, 828, 828]


def test_a_changed_recording_is_told(cache: Path, tmp_path: Path):
    save_events(tmp_path / "src" / "r003.npy", random_events(77, 103))
    (message,) = errors(verify_cache(cache))
    expected = f"{tmp_path}/src/r003.npy: differs from the recording that {cache}/tiny/events.h5 was built from."
    assert message.startswith(expected)


def test_recordings_that_are_gone_are_no_fault_but_said(cache: Path, tmp_path: Path):
    (tmp_path / "src" / "r000.npy").unlink()
    assert verify_cache(cache)[1].note == "not verified: 1 of 8 recordings are missing"
    shutil.rmtree(tmp_path / "src")
    results = verify_cache(cache)
    assert errors(results) == []
    assert results[1].note == "not verified: the recordings are missing"


def test_a_flipped_byte_is_told_once_for_each_sample_it_touches(cache: Path):
    path = cache / "tiny" / "frames" / "number-T4-8x10.h5"
    with h5py.File(path) as file:
        place = file["frames"].id.get_chunk_info_by_coord((5, 0, 0, 0, 0))
    data = bytearray(path.read_bytes())
    data[place.byte_offset + 20] ^= 1
    path.write_bytes(data)
    (message,) = errors(verify_cache(cache))
    assert message.startswith(f"{path}: sample 5 ('sämple5') is damaged")


def test_frames_with_another_count_are_told(cache: Path):
    path = cache / "tiny" / "frames" / "number-T4-8x10.h5"
    with h5py.File(path, "r+") as file:
        file["frames"][2, 1, 0, 3, 3] += 1  # HDF5 writes a fitting checksum
    (message,) = errors(verify_cache(cache))
    assert message.startswith(f"{path}: sample 2 ('sämple2') differs from its events binned again. Delete the file")


def test_events_that_do_not_fit_their_crc32_are_told(cache: Path):
    path = cache / "tiny" / "events.h5"
    with h5py.File(path, "r+") as file:
        at = int(file["samples/offset"][4])
        file["events/address"][at] = (file["events/address"][at] + 85) % 160
    found = errors(verify_cache(cache))
    assert "sample 4 ('sämple4') is damaged (its events do not match their crc32)" in found[0]
    # The frames were made before: they differ from what the events are now.
    assert len(found) == 3


def test_many_faults_end_in_a_count(cache: Path):
    path = cache / "tiny" / "events.h5"
    with h5py.File(path, "r+") as file:
        file["events/time_delta"][:] = 7
    found = verify_cache(cache)[0].errors
    assert len(found) == 6
    assert found[-1] == f"{path}: 3 more errors of this kind. The remedy is the same."


def test_frames_of_another_store_are_stale(cache: Path, tmp_path: Path):
    layout = tiny_layout(tmp_path / "src", [random_events(50 + i, 90) for i in range(8)])
    build_event_store(layout, cache)
    found = errors(verify_cache(cache))
    assert len(found) == 2
    assert "expected fingerprint" in found[0] and "of its event store, found" in found[0]


def test_a_store_whose_sources_changed_does_not_fit_its_fingerprint(cache: Path):
    with h5py.File(cache / "tiny" / "events.h5", "r+") as file:
        file["sources/size"][0] += 1
    assert "its sources do not match its fingerprint" in errors(verify_cache(cache))[0]


def test_a_folder_without_a_cache_is_told(tmp_path: Path):
    with pytest.raises(CacheError, match=r"expected a cache .* found none. Make one: spikeloom preprocess"):
        verify_cache(tmp_path)


def test_command_prints_a_table_and_fails_on_damage(cache: Path, capsys):
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=["verify", str(cache)]) == 0
    assert "intact" in capsys.readouterr().out
    path = cache / "tiny" / "frames" / "time-T3-4x5.h5"
    path.write_bytes(path.read_bytes()[:-50])
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=["verify", str(cache)]) == 2
    printed = capsys.readouterr()
    assert "damaged" in printed.out
    lines = [line for line in printed.err.splitlines() if "expected a frame cache" in line]
    assert len(lines) == 1 and lines[0].startswith(f"spikeloom: {path}: ")
    assert np.all([line.startswith("spikeloom: ") for line in printed.err.splitlines()])
