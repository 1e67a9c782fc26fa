"""Every rule of binning has its words on the command line, and the summary says what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_layout import random_events, tiny_layout

import preprocess.datasets
from preprocess import open_frames
from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import bin_events
from preprocess.cli import COMMANDS
from preprocess.terminal.command_line import run_main

SAMPLES = [random_events(i, 300, span_us=20_000 + 10_000 * i) for i in range(9)]

RULES = [
    ("duration --duration-us 9000", "duration-9000us-8x10", Binning(split_by="duration", duration_us=9000)),
    (
        "time_window --duration-us 9000 --overlap 1000 --include-incomplete --downsample 2",
        "time_window-9000us-overlap1000-incomplete-4x5",
        Binning(1, "time_window", 2, duration_us=9000, overlap=1000, include_incomplete=True),
    ),
    ("event_count --event-count 70", "event_count-70-8x10", Binning(split_by="event_count", event_count=70)),
    ("n_time_bins --timesteps 7", "n_time_bins-T7-8x10", Binning(7, "n_time_bins")),
    ("n_event_bins --timesteps 7", "n_event_bins-T7-8x10", Binning(7, "n_event_bins")),
    (
        "fixed_window --timesteps 3 --duration-us 5000 --start-us 70",
        "fixed_window-T3-5000us-from70us-8x10",
        Binning(3, "fixed_window", duration_us=5000, start_us=70),
    ),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs preprocess on nine tiny samples."""
    found = tiny_layout(tmp_path / "src", SAMPLES, name="n-mnist")
    monkeypatch.setattr(preprocess.datasets, "find_layout", lambda *_, **__: found)

    def run(words: str, *more: str) -> int:
        place = ["--source", str(tmp_path / "src"), "--cache", str(tmp_path / "cache")]
        argv = ["preprocess", "n-mnist", *place, *words.split(), *more]
        return run_main(COMMANDS, prog="spikeloom", description="", argv=argv)

    return run


@pytest.mark.parametrize(("words", "key", "binning"), RULES, ids=[key for _, key, _ in RULES])
def test_words_make_the_rules_frames(run, capsys, words: str, key: str, binning: Binning):
    assert run(f"--split-by {words}", "--json") == 0
    _, path = json.loads(capsys.readouterr().out)["caches"]
    assert Path(path).stem == key
    frames = open_frames(path)
    for i, sample in enumerate(SAMPLES):
        np.testing.assert_array_equal(frames.read(i)[: frames.lengths[i]], bin_events(sample, binning))


def test_the_summary_counts_dropped_events_and_tells_lengths(run, capsys):
    assert run("--split-by event_count --event-count 70") == 0
    out = capsys.readouterr().out
    # 300 events are four frames of 70 and 20 that are left.
    assert "event_count-70-8x10: 180 of 2,700 events (6.67 %) are in no frame." in out
    assert run("--split-by duration --duration-us 9000") == 0
    out = capsys.readouterr().out
    assert "9 x (3 to 11) x 2 x 8 x 10 uint8" in out and "in no frame" not in out


def test_inspect_says_how_frames_were_cut(run, capsys, tmp_path: Path):
    assert run("--split-by time_window --duration-us 9000 --overlap 1000") == 0
    (path,) = (tmp_path / "cache" / "n-mnist" / "frames").glob("*.h5")
    capsys.readouterr()
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "2 to 12 frames of 9000 us, overlapping by 1000, uint8 counts" in out
    assert "%) are in no frame" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("duration", "binning.duration_us: expected the duration of a frame in us for split_by duration, found none"),
        ("duration --duration-us 0", "binning.duration_us: expected at least 1, found 0"),
        (
            "duration --duration-us 9 --timesteps 4",
            "--timesteps: expected none, because --split-by duration determines T",
        ),
        ("time_window --duration-us 9 --overlap 9", "binning.overlap: expected 0 to less than a frame (9), found 9"),
        ("n_time_bins", "--split-by n_time_bins: expected --timesteps, found none. Add, for example, --timesteps 10"),
        (
            "number --timesteps 4 --duration-us 9",
            "--duration-us: expected none, because --split-by number does not use it, found 9. Leave it out",
        ),
        ("fixed_window --timesteps 4 --duration-us 9 --start-us -1", "binning.start_us: expected at least 0, found -1"),
    ],
)
def test_words_that_do_not_fit_the_rule_are_one_line_each(run, capsys, tmp_path: Path, words: str, message: str):
    assert run(f"--split-by {words}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "cache").exists()
