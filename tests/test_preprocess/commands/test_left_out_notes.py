"""The contract of preprocess: whatever it leaves out, counts twice, reuses or assumes has a field in --json and a line.

`PLACES` lists every such place. A new one is added there, with a source in which it occurs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from raw_files import Packet, aedat2, aedat31, atis, polarity_payload

from preprocess.cli import COMMANDS
from preprocess.terminal.command_line import run_main

Answer = dict[str, Any]
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Place:
    """A place where preprocess leaves something out, counts it twice, reuses or assumes it.

    Attributes:
        title: What happens there.
        words: Arguments of preprocess besides --source and --cache.
        fill: Lays out the recordings in the source folder.
        field: What --json must say, of the answer.
        said: What the table must say.
    """

    title: str
    words: str
    fill: Callable[[Path], None]
    field: Callable[[Answer], object]
    value: object
    said: str


def save(path: Path, times: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(aedat2([(3, t) for t in times]))


def folder(path: Path) -> None:
    save(path / "mug" / "a.aedat", range(0, 100, 10))
    save(path / "box" / "b.aedat", range(1000, 1100, 10))


def with_files_not_read(path: Path) -> None:
    folder(path)
    save(path / "mug" / "second" / "c.aedat", [1, 2])
    for name in ("mug/e.doc", "box/f.doc", "mug/notes.txt", "README"):
        (path / name).write_bytes(b"")


def with_strays(path: Path) -> None:
    folder(path)
    save(path / "mug" / "c.aedat", [0, 10, 90, 20, 30, 40, 50, 60, 70, 80, 100])


def with_special(path: Path) -> None:
    folder(path)
    (path / "mug" / "c.aedat").write_bytes(aedat2([(3, 1), (1 << 15 | 3, 2)]))


def with_interval(path: Path) -> None:
    folder(path)
    (path / "manifest.csv").write_text("path,label,start_us,end_us\nmug/a.aedat,mug,20,60\nbox/b.aedat,box,1000,1050\n")


def with_gap(path: Path) -> None:
    folder(path)
    save(path / "mug" / "long.aedat", [*range(0, 100, 10), 250, *range(300, 395, 10)])


def damaged(path: Path) -> None:
    folder(path)
    whole = path / "mug" / "a.aedat"
    whole.write_bytes(whole.read_bytes()[:-3])


def gestures(path: Path) -> None:
    path.mkdir(parents=True)
    for user, label in (("user01_led", 8), ("user24_led", 2)):
        payload = polarity_payload([(t, 3, 4, 1) for t in range(0, 100, 10)])
        packets = [Packet(payload), Packet(bytes(8), kind=0)]
        (path / f"{user}.aedat").write_bytes(aedat31(packets))
        (path / f"{user}_labels.csv").write_text(f"class,startTime_usec,endTime_usec\n{label},20,60\n")
    (path / "trials_to_train.txt").write_text("user01_led.aedat\n")
    (path / "trials_to_test.txt").write_text("user24_led.aedat\n")
    (path / "user05_lab.aedat").write_bytes(b"not listed")


def digits(path: Path, *parts: str) -> None:
    for part in parts:
        for digit in "01" if part == "Train" else "1":
            (path / part / digit).mkdir(parents=True)
            (path / part / digit / "00001.bin").write_bytes(atis([(5, int(digit), 33, 1), (9, 1, 2, 0)]))
    (path / "Train" / "0" / "00007.txt").write_bytes(b"")


def objects(path: Path) -> None:
    for name in OBJECTS:
        save(path / name / f"cifar10_{name}_0.aedat", range(0, 100, 10))
    (path / "cat" / "thumbs.db").write_bytes(b"")


def npz_gestures(path: Path) -> None:
    for part, user in (("train", "user01"), ("test", "user24")):
        (path / part / "0").mkdir(parents=True)
        np.savez(path / part / "0" / f"{user}_led_0.npz", t=[1, 2], x=[3, 4], y=[4, 4], p=[0, 1])
    (path / "train" / "0" / "user01_led_0.mat").write_bytes(b"")


def arrays(path: Path) -> None:
    for label in ("mug", "box"):
        (path / label).mkdir(parents=True)
        np.savez(path / label / "a.npz", t=[0, 40_000], x=[3, 4], y=[4, 4], p=[0, 1])


def kinds(answer: Answer) -> object:
    return [(kind["kind"], kind["deeper"], kind["files"], kind["example"]) for kind in answer["not_read"]]


def note(name: str) -> Callable[[Answer], object]:
    return lambda answer: answer["notes"].get(name)


MINE = "folder --name mine"

PLACES = [
    Place(
        "files of a folder that are not read", MINE, with_files_not_read, kinds,
        [(".doc", False, 2, "box/f.doc"), ("", False, 1, "README"), (".aedat", True, 1, "mug/second/c.aedat"),
         (".txt", False, 1, "mug/notes.txt")],
        "Files not read: 5: 2 .doc (box/f.doc), 1 without a suffix (README), 1 .aedat in deeper folders "
        "(mug/second/c.aedat), 1 .txt (mug/notes.txt).",
    ),
    Place(
        "recordings that no list names", "dvs-gesture", gestures, kinds, [(".aedat", False, 1, "user05_lab.aedat")],
        "Files not read: 1: 1 .aedat (user05_lab.aedat).",
    ),
    Place(
        "files among SpikingJelly's gestures", "dvs-gesture", npz_gestures, kinds,
        [(".mat", False, 1, "train/0/user01_led_0.mat")], "Files not read: 1: 1 .mat (train/0/user01_led_0.mat).",
    ),
    Place(
        "files among digits", "n-mnist", lambda path: digits(path, "Train", "Test"), kinds,
        [(".txt", False, 1, "Train/0/00007.txt")], "Files not read: 1: 1 .txt (Train/0/00007.txt).",
    ),
    Place(
        "files among objects", "cifar10-dvs", objects, kinds, [(".db", False, 1, "cat/thumbs.db")],
        "Files not read: 1: 1 .db (cat/thumbs.db).",
    ),
    Place(
        "a class in one split only", "n-mnist", lambda path: digits(path, "Train", "Test"),
        lambda answer: answer["classes_in_one_split"], {"train": ["0"]}, "Classes in the train split only: 0.",
    ),
    Place(
        "classes without samples", "n-mnist", lambda path: digits(path, "Train", "Test"),
        lambda answer: answer["classes_without_samples"], list("23456789"),
        "Classes without samples: 2, 3, 4, 5, 6, 7, 8, 9.",
    ),
    Place(
        "a missing split", "n-mnist", lambda path: digits(path, "Train"), lambda answer: answer["splits"],
        {"train": 2}, "No test split: all 2 samples belong to the official train split.",
    ),
    Place(
        "events out of order", MINE, with_strays, lambda answer: answer["out_of_order"], {"samples": 1, "events": 1},
        "Events out of order (earlier than the event before): 1 in 1 of 3 samples.",
    ),
    Place(
        "events that --sort moved", f"{MINE} --sort", with_strays, note("events_put_in_order"), 1,
        "events put in order: 1",
    ),
    Place(
        "events in several frames", f"{MINE} --split-by time --timesteps 4", with_strays,
        lambda answer: answer["frames"][0]["events_in_several_frames"], 7,
        "time-T4-128x128: 7 of 31 events are in several frames, "
        "because they are out of order; use --sort to count each once.",
    ),
    Place(
        "frames that overlap", f"{MINE} --split-by event_count --event-count 6 --overlap 2", folder,
        lambda answer: answer["frames"][0]["events_in_several_frames"], 4,
        "event_count-6-overlap2-128x128: 4 of 20 events are in several frames, as requested by --overlap 2.",
    ),
    Place(
        "events that tonic's rules leave out", f"{MINE} --split-by n_event_bins --timesteps 3", folder,
        lambda answer: answer["frames"][0]["events_in_no_frame"], 2,
        "n_event_bins-T3-128x128: 2 of 20 events (10.00 %) are in no frame.",
    ),
    Place(
        "events outside of a fixed window", f"{MINE} --split-by fixed_window --timesteps 2 --duration-us 10", folder,
        lambda answer: answer["frames"][0]["events_in_no_frame"], 16,
        "Warning: fixed_window-T2-10us-128x128: 16 of 20 events (80.00 %) are in no frame.",
    ),
    Place(
        "events in no labelled interval", MINE, with_interval, note("events_in_no_sample"), 11,
        "events in no sample: 11",
    ),
    Place(
        "events between labels", "dvs-gesture", gestures, note("events_in_no_sample"), 12, "events in no sample: 12",
    ),
    Place(
        "events of other kinds", "dvs-gesture", gestures, note("events_of_other_kinds_skipped"), 2,
        "events of other kinds skipped: 2",
    ),
    Place(
        "events marked special", MINE, with_special, note("events_marked_special"), 1, "events marked special: 1",
    ),
    Place(
        "windows of too few events", f"{MINE} --window-us 50 --min-events 5", with_gap,
        note("windows_of_too_few_events"), 1, "windows of too few events: 1",
    ),
    Place(
        "windows cut short", f"{MINE} --window-us 50 --min-events 5", with_gap, note("windows_cut_short"), 3,
        "windows left out because the recording ends within them: 3",
    ),
    Place(
        "recordings without a window", f"{MINE} --window-us 95", with_gap, note("recordings_without_a_window"), 2,
        "recordings without a window: 2",
    ),
    Place(
        "events in no window", f"{MINE} --window-us 50 --min-events 5", with_gap, note("events_in_no_window"), 16,
        "events in no window: 16",
    ),
    Place(
        "bytes behind damage", f"{MINE} --salvage", damaged, note("bytes_lost_to_damage"), 5,
        "bytes lost to damage: 5",
    ),
    Place(
        "recordings cut at damage", f"{MINE} --salvage", damaged, note("recordings_salvaged"), 1,
        "recordings salvaged: 1",
    ),
    Place(
        "the form, sensor and orientation that are assumed", "cifar10-dvs", objects,
        lambda answer: {name: answer["read_as"][name] for name in ("form", "orientation", "height", "width")},
        {"form": "the recordings as published (AEDAT 2.0)", "orientation": "spikingjelly", "height": 128, "width": 128},
        "128x128 pixels",
    ),
    Place(
        "the unit of the times of arrays", f"{MINE} --sensor-size 8 8", arrays,
        lambda answer: {name: answer["read_as"][name] for name in ("columns", "time_unit", "time_unit_assumed")},
        {"columns": None, "time_unit": "us", "time_unit_assumed": True},
        "Times of files that do not state a unit were read as us, because no --time-unit was given.",
    ),
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, capsys):
    def run(words: str, *more: str) -> tuple[int, str, str]:
        place = ["--source", str(tmp_path / "source"), "--cache", str(tmp_path / "cache")]
        argv = ["preprocess", *words.split(), *place, *more]
        capsys.readouterr()
        code = run_main(COMMANDS, prog="spikeloom", description="", argv=argv)
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("place", PLACES, ids=[place.title for place in PLACES])
def test_every_place_has_a_line_and_a_field(run, tmp_path: Path, place: Place):
    place.fill(tmp_path / "source")
    code, out, err = run(place.words)
    assert code == 0, err
    assert place.said in out
    # Caches that are there say the same.
    code, out, err = run(place.words)
    assert code == 0 and place.said in out and "Nothing to do" in out
    answer = json.loads(run(place.words, "--json")[1])
    assert place.field(answer) == place.value
    assert answer["reused"] == answer["caches"]


def test_where_nothing_is_left_out_nothing_is_said(run, tmp_path: Path):
    folder(tmp_path / "source")
    code, out, _ = run(f"{MINE} --split-by time --timesteps 2")
    assert code == 0
    (last,) = (line for line in out.splitlines() if line and line[0].isascii() and line[0] != " ")
    assert last.startswith("2 of 2 caches made in")
    answer = json.loads(run(f"{MINE} --split-by time --timesteps 3", "--json")[1])
    assert answer["not_read"] == answer["classes_without_samples"] == []
    assert answer["notes"] == answer["classes_in_one_split"] == {}
    assert answer["out_of_order"] == {"samples": 0, "events": 0}
    assert answer["frames"][0] | {"path": ""} == {"path": "", "events_in_no_frame": 0, "events_in_several_frames": 0}
    # The events were there, the frames of another T were not.
    assert answer["reused"] == answer["caches"][:1]


def test_the_cache_and_unpacked_archives_are_no_files_left_out(run, tmp_path: Path, capsys):
    source = tmp_path / "source"
    digits(source, "Train", "Test")
    (source / "Train" / "0" / "00007.txt").unlink()
    for name in ("train.zip", "test.zip", ".DS_Store"):
        (source / name).write_bytes(b"")
    words = ["preprocess", "n-mnist", "--source", str(source), "--cache", str(source / "cache"), "--json"]
    for _ in range(2):
        assert run_main(COMMANDS, prog="spikeloom", description="", argv=words) == 0
        assert json.loads(capsys.readouterr().out)["not_read"] == []


@pytest.mark.parametrize("words", ["--split-by fixed_window --timesteps 2 --duration-us 10 --start-us 500"])
def test_frames_without_any_event_are_refused(run, tmp_path: Path, words: str):
    from preprocess.binning.binning_config import Binning
    from preprocess.building.build_frame_cache import ensure_frames
    from preprocess.errors import ConfigError
    from preprocess.store.event_store import open_events
    from preprocess.store.frame_source import EventFrames

    folder(tmp_path / "source")
    code, _, err = run(f"{MINE} {words}")
    assert code == 2 and not list((tmp_path / "cache").rglob("frames/*.h5"))
    assert err.splitlines()[-1] == (
        "spikeloom: binning: expected at least one event in a frame, found none in 2 samples, the longest of which "
        "lasts 91 us (split_by fixed_window, timesteps 2, duration_us 10, start_us 500). Choose frames "
        "within the samples."
    )
    binning = Binning(2, "fixed_window", duration_us=10, start_us=500)
    with pytest.raises(ConfigError, match="expected at least one event in a frame"):
        ensure_frames(tmp_path / "cache", "mine", binning)
    with pytest.raises(ConfigError, match="expected at least one event in a frame"):
        EventFrames(open_events(tmp_path / "cache" / "mine" / "events.h5"), binning)


def test_training_hears_of_events_in_no_frame_when_their_frames_are_made(tmp_path: Path, run, capsys):
    from preprocess.binning.binning_config import Binning
    from preprocess.building.build_frame_cache import ensure_frames

    folder(tmp_path / "source")
    run(MINE)
    ensure_frames(tmp_path / "cache", "mine", Binning(2, "fixed_window", duration_us=10))
    assert "Warning: fixed_window-T2-10us-128x128: 16 of 20 events (80%) are in no frame" in capsys.readouterr().err


def test_a_cache_says_what_to_import_and_opens_with_it(run, tmp_path: Path):
    """h5py and hdf5plugin alone, in a process that imports nothing of ours."""
    import subprocess
    import sys

    folder(tmp_path / "source")
    caches = json.loads(run(f"{MINE} --timesteps 2", "--json")[1])["caches"]
    for path, data in zip(caches, ("events/address", "frames"), strict=True):
        with h5py.File(path) as file:
            assert file.attrs["read_with"] == "h5py with hdf5plugin: import hdf5plugin before the file is opened"
            expected = file[data][...]
        code = f"import h5py, hdf5plugin; print(int(h5py.File({path!r})[{data!r}][...].astype('int64').sum()))"
        answer = subprocess.run(
            [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert int(answer.stdout) == int(expected.astype(np.int64).sum()) > 0


@pytest.mark.real
def test_packets_of_other_streams_of_a_real_recording_are_counted(run, tmp_path: Path, real_data: Path):
    """A DAVIS also sends its inertial measurements and triggers."""
    (tmp_path / "source" / "walk").mkdir(parents=True)
    recording = real_data / "readers" / "sample-320x240.aedat4"
    (tmp_path / "source" / "walk" / "a.aedat4").write_bytes(recording.read_bytes())
    code, out, _ = run(MINE)
    assert code == 0 and "packets of other streams skipped: 59" in out
