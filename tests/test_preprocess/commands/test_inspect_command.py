"""inspect counts what is there, says it to people and scripts, and draws pictures with something in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from raw_files import AEDAT31_HEADER, Packet, aedat2, aedat31, atis, polarity_payload
from tiny_layout import random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.cli import COMMANDS
from preprocess.events import Events
from preprocess.inspection.event_statistics import survey_events, take_excerpt
from preprocess.terminal.command_line import run_main


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=["inspect", *map(str, words)])


def answer(capsys, *words: object) -> dict:
    assert run(*words, "--json") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


def refusal(capsys, *words: object) -> str:
    assert run(*words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line.removeprefix("spikeloom: ")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine samples of three classes, and their frames."""
    folder = tmp_path_factory.mktemp("inspect")
    layout = tiny_layout(folder / "src", [random_events(i, 300 + i, ordered=False) for i in range(9)])
    build_event_store(layout, folder / "cache")
    ensure_frames(folder / "cache", "tiny", Binning(4, "time"))
    ensure_frames(folder / "cache", "tiny", Binning(23, "number", 2))
    return folder / "cache" / "tiny"


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG")
    return imread(path)[..., :3]


def inked(image: np.ndarray, red: bool) -> float:
    """The share of pixels that are clearly red, or clearly blue."""
    r, _, b = np.moveaxis(image, -1, 0)
    return float(np.mean(r - b > 0.2 if red else b - r > 0.2))


def test_a_recording_in_json(tmp_path: Path, capsys):
    events = [(1000, 1, 2, 1), (31_000, 1, 2, 0), (20_000, 1, 2, 1), (20_000, 5, 6, 1), (40_999, 5, 6, 1)]
    path = tmp_path / "user01_led.aedat"
    packets = [Packet(polarity_payload(events[:2])), Packet(polarity_payload(events[2:]))]
    path.write_bytes(aedat31([*packets, Packet(polarity_payload(events[2:], valid=0))]))
    assert answer(capsys, path) == {
        "path": str(path),
        "kind": "recording",
        "format": "AEDAT 3.1",
        "bytes": path.stat().st_size,
        "header": [*AEDAT31_HEADER, "#!END-HEADER"],
        "height": 128,
        "width": 128,
        "orientation": None,
        "events": 5,
        "on": 4,
        "off": 1,
        "on_share": 0.8,
        "start_us": 1000,
        "end_us": 41_000,
        "duration_us": 40_000,
        "mean_rate": 125.0,
        "peak_rate": 1000.0,
        "rate_window_us": 2000,
        "backwards": 1,
        "notes": {"events_marked_invalid_left_out": 3},
    }


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, capsys):
    os.mkfifo(tmp_path / "a.csv")
    assert refusal(capsys, tmp_path / "a.csv").endswith(
        "expected a recording, found a special file. Copy it to a disk first."
    )


def test_options_of_other_formats_are_refused(tmp_path: Path, capsys):
    (tmp_path / "a.csv").write_text("t,x,y,p\n1,2,3,1\n")
    assert "expected a .bag file for --topic, found text." in refusal(capsys, tmp_path / "a.csv", "--topic", "/e")


def test_a_recording_in_lines(tmp_path: Path, capsys):
    path = tmp_path / "a.aedat"
    header = ("#!AER-DAT2.0", *("# more" for _ in range(30)))
    path.write_bytes(aedat2([(1 << 15, 3_000_000), (1, 1_000_000)] * 50, header))
    assert run(path) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == str(path)
    for text in (
        "recording     AEDAT 2.0, 0.00 MB, 128x128 pixels (rows x columns), spikingjelly orientation",
        "header        #!AER-DAT2.0",
        "... and 21 more lines",
        "events        100: 50.0 % ON, 50.0 % OFF",
        "time          2.000001 s, from 1.000000 s to 3.000001 s",
        "order         50 events are earlier than their predecessor",
        "rate          50 events/s on average, 5,000 in the busiest 10.0 ms",
        "note          events marked special: 50",
    ):
        assert text in out, out


def test_a_recording_without_events(tmp_path: Path, capsys):
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat31([]))
    assert run(path) == 0
    assert "events        none" in capsys.readouterr().out
    line = refusal(capsys, path, "--plot", tmp_path / "a.png")
    assert line.endswith("expected events to draw, found none. Leave out --plot and --animate.")
    assert not (tmp_path / "a.png").exists()


def test_an_event_store_in_json(cache: Path, capsys):
    found = answer(capsys, cache / "events.h5", "--sample", 4)
    assert (found["kind"], found["dataset"], found["samples"]) == ("event store", "tiny", 9)
    assert found["splits"] == {"train": 5, "test": 4}
    assert found["classes"]["class1"] == {"train": 1, "test": 2}
    assert (found["events"], found["events_of_smallest"], found["events_of_largest"]) == (2736, 300, 308)
    assert found["source"] == str(cache.parent.parent / "src") and len(found["fingerprint"]) == 32
    sample, events = found["sample"], random_events(4, 304, ordered=False)
    assert (sample["number"], sample["name"], sample["class"], sample["group"]) == (4, "sämple4", "class1", "user0")
    assert (sample["events"], sample["on"]) == (304, int(events.p.sum()))
    assert sample["backwards"] == int(np.sum(np.diff(events.t) < 0))
    assert (sample["start_us"], sample["end_us"]) == (events.t.min(), events.t.max() + 1)


def test_a_frame_cache_in_json_and_lines(cache: Path, capsys):
    path = cache / "frames" / "time-T4-8x10.h5"
    found = answer(capsys, path)
    assert (found["kind"], found["timesteps"], found["split_by"], found["downsample"]) == ("frame cache", 4, "time", 1)
    assert found["dtype"] == "uint8" and found["sample"]["number"] == 0
    assert sum(found["sample"]["events_of_frames"]) == found["sample"]["events"] >= 300
    assert found["fingerprint"] == answer(capsys, cache / "events.h5")["fingerprint"]
    assert run(path, "--sample", 8) == 0
    out = capsys.readouterr().out
    assert "4 frames of equal duration, uint8 counts" in out and "sample 8      'sämple8', class class2, train" in out
    assert "9: 5 train, 4 test" in out and "3, with 3 to 3 samples each: class0, class1, class2" in out


def test_pictures_show_both_polarities(cache: Path, tmp_path: Path, capsys):
    path = tmp_path / "a.bin"
    rng = np.random.default_rng(1)
    columns = [np.sort(rng.integers(0, 3_000_000, 4000)), *(rng.integers(0, n, 4000) for n in (34, 34, 2))]
    path.write_bytes(atis([tuple(map(int, event)) for event in zip(*columns, strict=True)]))
    # In both kinds of picture the strip of frames is looked at by itself, and what is above or below it.
    events, frames = (0.56, 0.72), (0.16, 0.4)
    for file, strip in (
        (path, events),
        (cache / "events.h5", events),
        (cache / "frames" / "time-T4-8x10.h5", frames),
        (cache / "frames" / "number-T23-4x5.h5", frames),
    ):
        picture = tmp_path / "pictures" / f"{file.stem}.png"
        assert run(file, "--plot", picture) == 0
        image = pixels(picture)
        top, bottom = (round(share * len(image)) for share in strip)
        for part in (image[:top] if strip == events else image[bottom:], image[top:bottom]):
            assert inked(part, red=True) > 0.001 and inked(part, red=False) > 0.001
    assert len(list((tmp_path / "pictures").iterdir())) == 4, "nothing half-written stays"


def test_pictures_of_one_event_and_of_wild_times(tmp_path: Path, capsys):
    path, picture = tmp_path / "a.aedat", tmp_path / "a.png"
    for packets in (
        [Packet(polarity_payload([(7, 1, 2, 1)]))],
        [Packet(polarity_payload([(7, 1, 2, 1)] * 9)), Packet(polarity_payload([(5, 1, 2, 0)]), overflow=2**32 - 1)],
    ):
        path.write_bytes(aedat31(packets))
        assert run(path, "--plot", picture) == 0
        assert pixels(picture).shape[0] > 500


def test_what_is_written_is_printed(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = (cache / "events.h5", "--plot", "a.png", "--animate", "a.gif")
    assert run(*words) == 0
    printed = capsys.readouterr()
    assert printed.out.endswith(f"\npicture: {tmp_path / 'a.png'}\nanimation: {tmp_path / 'a.gif'}\n")
    found = answer(capsys, *words)
    assert found["picture"] == str(tmp_path / "a.png") and found["animation"] == str(tmp_path / "a.gif")
    assert run(cache / "events.h5") == 0
    assert "picture: " not in capsys.readouterr().out


def test_an_unwritable_or_misnamed_picture_is_refused(cache: Path, tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    store = cache / "events.h5"
    assert "--plot: expected a file name that ends with .png, found" in refusal(capsys, store, "--plot", "a.gif")
    line = refusal(capsys, store, "--plot", tmp_path / "file" / "a.png")
    assert line.startswith(f"{tmp_path / 'file' / 'a.png'}: cannot be written (")


def test_faulty_files_and_samples_are_one_line(cache: Path, tmp_path: Path, capsys):
    store = cache / "events.h5"
    assert refusal(capsys, store, "--sample", 9) == (
        f"{store}: expected a sample number below 9, found 9. Give another --sample."
    )
    assert "--sample: expected 0 or more, found -1" in refusal(capsys, store, "--sample", "-1")
    assert f"{tmp_path / 'none'}: cannot be read (No such file or directory)" in refusal(capsys, tmp_path / "none")
    assert f"{cache}: expected a recording, found a folder" in refusal(capsys, cache)
    damaged = tmp_path / "events.h5"
    damaged.write_bytes(store.read_bytes()[:3000])
    assert f"{damaged}: expected an event store, found one that cannot be read" in refusal(capsys, damaged)
    recording = tmp_path / "events.h5"
    with h5py.File(recording, "w") as file:
        file["events"] = np.zeros((9000, 4))
    recording.write_bytes(recording.read_bytes()[:3000])
    assert f"{recording}: expected an HDF5 file, found a damaged one" in refusal(capsys, recording)
    recording = tmp_path / "a.bin"
    recording.write_bytes(atis([(1, 2, 3, 1)]))
    assert "expected a cache for --sample 0, found a recording" in refusal(capsys, recording, "--sample", 0)
    recording.write_bytes(atis([(1, 2, 3, 1)])[:3])
    assert "found 3 bytes left at byte 0" in refusal(capsys, recording)


@pytest.mark.slow
def test_inspect_loads_neither_torch_nor_spikingjelly(cache: Path, tmp_path: Path):
    code = (
        "import sys; from preprocess.commands.inspect_recording import run\n"
        f"run([{str(cache / 'events.h5')!r}, '--plot', {str(tmp_path / 'a.png')!r}])\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert not {"torch", "spikingjelly", "ray", "tonic"} & set(result.stderr.split())


times = st.lists(st.integers(0, 200_000), min_size=1, max_size=60)


def some_events(t: list[int]) -> Events:
    n = len(t)
    k = np.arange(n)
    return Events(np.array(t), (k % 5).astype(np.uint16), (k % 3).astype(np.uint16), (k % 2).astype(np.uint8), 3, 5)


@example([3, 1, 2, 0], 1)
@given(times, st.integers(1, 20))
def test_a_survey_does_not_depend_on_the_chunks(t: list[int], chunk: int):
    events = some_events(t)
    whole = survey_events(lambda: [events])
    parts = survey_events(lambda: (events[i : i + chunk] for i in range(0, len(t), chunk)))
    assert parts.counts.tolist() == whole.counts.tolist() and parts.counts.sum() == len(t) == parts.events
    assert parts.backwards == whole.backwards == int(np.sum(np.diff(t) < 0))
    assert (parts.start_us, parts.end_us, parts.on) == (min(t), max(t) + 1, len(t) // 2)
    # Windows are whole microseconds, so together they may be a little longer than the stream.
    assert parts.peak_rate >= parts.mean_rate * (1 - parts.counts.shape[1] / parts.duration_us) - 1e-6
    start, end = parts.busiest(50_000)
    assert parts.start_us <= start < end <= parts.end_us


@example([5, 6, 7, 8, 9, 10], 4, 0, 100, 2)
@given(times, st.integers(1, 20), st.integers(0, 100_000), st.integers(1, 100_000), st.integers(1, 30))
def test_an_excerpt_bins_all_and_shows_some(t: list[int], chunk: int, start: int, span: int, most: int):
    events = some_events(t)
    inside = [us for us in t if start <= us < start + span]
    parts = lambda: (events[i : i + chunk] for i in range(0, len(t), chunk))  # noqa: E731
    excerpt = take_excerpt(parts, start, start + span, 3, 5, bins=4, most_events=most)
    width = -(-span // 4)
    expected = np.bincount([(us - start) // width for us in inside], minlength=4)
    assert excerpt.frames.sum(axis=(1, 2, 3)).tolist() == expected.tolist()
    step = max(1, -(-len(inside) // most))
    assert excerpt.shown.t.tolist() == inside[::step] and len(excerpt.shown) <= most
