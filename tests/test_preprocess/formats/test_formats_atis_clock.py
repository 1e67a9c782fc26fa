"""ATIS recordings longer than their 23 bits of µs: wraps, and the overflow marks of the original tools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_files import atis

from preprocess.cli import COMMANDS
from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import open_recording, recording
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames
from preprocess.terminal.command_line import run_main

RANGE_US = 1 << 23
MARK = bytes([0, 240, 0, 0, 0])


def decode(path: Path, content: bytes, **options) -> tuple[Events, dict[str, int]]:
    path.write_bytes(content)
    opened = open_recording(path, **options)
    return Events.concatenate(opened.chunks(), opened.height, opened.width), opened.notes


@given(st.lists(st.integers(0, int(0.49 * RANGE_US)), min_size=1, max_size=60), st.integers(0, RANGE_US - 1))
def test_any_pauses_below_half_the_range_keep_their_length(tmp_path: Path, pauses: list[int], start: int):
    t = start + np.cumsum([0, *pauses])
    events, notes = decode(tmp_path / "a.bin", atis([(int(us) % RANGE_US, 1, 2, 1) for us in t]))
    assert events.t.tolist() == t.tolist()
    assert notes.get("clock_wraps", 0) == t[-1] // RANGE_US


@pytest.mark.parametrize("block", [5, 1 << 20])
@pytest.mark.parametrize("share", [0.01, 0.26, 0.3, 0.4, 0.49])
def test_pauses_below_half_the_range_and_events_close_together_keep_their_length(
    tmp_path: Path, share: float, block: int, monkeypatch: pytest.MonkeyPatch
):
    """A wrap is then a step back of half the range or more; events close together are decoded as a run."""
    monkeypatch.setattr(recording, "BLOCK_BYTES", block)
    t = np.cumsum([0, *[int(share * RANGE_US), 10] * 8])
    events, notes = decode(tmp_path / "a.bin", atis([(int(us) % RANGE_US, 1, 2, 1) for us in t]))
    assert events.t.tolist() == t.tolist() and notes.get("clock_wraps", 0) == t[-1] // RANGE_US


@pytest.mark.parametrize("block", [25, 1 << 20])
@pytest.mark.parametrize("size", [(34, 34), (256, 256)])
def test_overflow_marks_move_the_times_after_them_and_are_no_events(
    tmp_path: Path, size: tuple[int, int], block: int, monkeypatch: pytest.MonkeyPatch
):
    from tonic.datasets.nmnist import NMNIST
    from tonic.io import read_mnist_file

    monkeypatch.setattr(recording, "BLOCK_BYTES", block)
    rng = np.random.default_rng(2)
    t = np.sort(rng.integers(0, 20_000_000, 4000))
    columns = (t % 8192, *rng.integers(0, 2, (3, 4000)))
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    marks = np.diff(t >> 13, prepend=0)
    content = b"".join(int(n) * MARK + atis([row]) for n, row in zip(marks, rows, strict=True))
    events, notes = decode(tmp_path / "a.bin", content, size=size)
    assert events.t.tolist() == t.tolist() and notes == {"overflow_marks": 2441}
    reference = read_mnist_file(tmp_path / "a.bin", NMNIST.dtype)
    for name in "txyp":
        np.testing.assert_array_equal(getattr(events, name), reference[name])


def test_marks_and_wraps_add_up(tmp_path: Path):
    last = RANGE_US - 1
    content = (
        atis([(last - 5, 1, 2, 1)]) + MARK + atis([(last, 1, 2, 1), (3, 1, 2, 0)]) + 2 * MARK + atis([(9, 4, 5, 0)])
    )
    events, notes = decode(tmp_path / "a.bin", content)
    assert events.t.tolist() == [last - 5, last + 8192, RANGE_US + 3 + 8192, RANGE_US + 9 + 3 * 8192]
    assert notes == {"clock_wraps": 1, "overflow_marks": 3}


def test_row_240_is_a_mark_in_column_0_alone(tmp_path: Path):
    content = atis([(5, 1, 240, 1), (6, 0, 239, 1), (7, 0, 241, 0)])
    events, notes = decode(tmp_path / "a.bin", content, size=(256, 256))
    assert events.y.tolist() == [240, 239, 241] and events.t.tolist() == [5, 6, 7] and notes == {}
    content = MARK + atis([(5, 1, 2, 1), (6, 1, 240, 1)])
    with pytest.raises(RecordingError, match=r"found row 240, column 1 in the event at byte 10\."):
        decode(tmp_path / "a.bin", content)


def run(*argv: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=["preprocess", "folder", *map(str, argv)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two recordings of 4,000 events in 20 s each."""
    t = np.linspace(0, 19_999_999, 4000).astype(int).tolist()
    for label in ("cat", "dog"):
        (tmp_path / "src" / label).mkdir(parents=True)
        content = atis([(us % RANGE_US, k % 34, k // 34 % 34, k % 2) for k, us in enumerate(t)])
        (tmp_path / "src" / label / f"{label}.bin").write_bytes(content)
    return tmp_path / "src"


def test_frames_by_time_of_20_seconds_hold_all_events(source: Path, tmp_path: Path, capsys):
    argv = ("--source", source, "--cache", tmp_path / "cache", "--name", "long", "--sensor-size", 34, 34)
    assert run(*argv, "--split-by", "time", "--timesteps", 4, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["events"] == 8000 and answer["notes"] == {"clock_wraps": 4}
    store = open_events(answer["caches"][0])
    assert store.samples.interval_us.tolist() == [[0, 20_000_000]] * 2
    frames = open_frames(answer["caches"][1])
    assert frames.read(0).sum(axis=(1, 2, 3)).tolist() == [1000] * 4


def test_windows_of_20_seconds_hold_all_events(source: Path, tmp_path: Path, capsys):
    argv = ("--source", source, "--cache", tmp_path / "cache", "--name", "long", "--sensor-size", 34, 34)
    assert run(*argv, "--window-us", 5_000_000, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["samples"], answer["events"]) == (8, 8000)
    store = open_events(answer["caches"][0])
    assert store.samples.interval_us[:4].tolist() == [[k * 5_000_000, (k + 1) * 5_000_000] for k in range(4)]
    store.close()
    assert run(*argv, "--window-us", 5_000_000) == 0
    assert "clock wraps: 4" in capsys.readouterr().out
