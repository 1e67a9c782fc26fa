"""AEDAT 2.0 and 3 of a DAVIS and other cameras: the events of pixels are kept, the rest is left out and counted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from raw_files import AEDAT2_HEADER, Packet, aedat2, aedat31, columns, polarity_payload, text_header

from preprocess.cli import COMMANDS
from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import Recording, Size, open_recording, recording
from preprocess.terminal.command_line import run_main

V2E_HEADER = (
    "#!AER-DAT2.0",
    "# This is a raw AE data file created by AEDat2Output in v2e",
    "# Timestamps tick is 1 us",
)
CHIP = "# AEChip: eu.seebetter.ini.chips.davis."


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def decode(opened: Recording) -> Events:
    return Events.concatenate(opened.chunks(), opened.height, opened.width)


def of_chip(words: list[tuple[int, int]], chip: str) -> bytes:
    return aedat2(words, (*AEDAT2_HEADER, CHIP + chip))


def v2e_words(events: NDArray[np.int64], size: Size) -> list[tuple[int, int]]:
    """Events in rows of t, x, y, p as v2e writes them: both coordinates are counted from the other edge."""
    height, width = size
    x_at, y_at, p_at = (1, 11, 0) if size == (480, 640) else (12, 22, 11)
    return [((width - 1 - x) << x_at | (height - 1 - y) << y_at | p << p_at, t) for t, x, y, p in events.tolist()]


@pytest.mark.parametrize("size", [(260, 346), (180, 240), (480, 640)])
def test_v2e_files_decode_to_the_events_v2e_was_given(tmp_path: Path, size: Size):
    rng = np.random.default_rng(2)
    events = np.stack([np.arange(5000), *(rng.integers(0, n, 5000) for n in (size[1], size[0], 2))], axis=1)
    path = write(tmp_path / "v2e.aedat", aedat2(v2e_words(events, size), V2E_HEADER))
    opened = open_recording(path, size=size)
    assert (opened.height, opened.width, opened.orientation, opened.notes) == (*size, None, {})
    decoded = decode(opened)
    np.testing.assert_array_equal(np.stack([decoded.t, decoded.x, decoded.y, decoded.p], axis=1), events)


def test_a_davis346_equals_tonic(tmp_path: Path):
    from tonic.io import read_davis_346

    rng = np.random.default_rng(3)
    x, y, p = rng.integers(0, ((346,), (260,), (2,)), (3, 4000))
    words = [(address, t) for t, address in enumerate((y << 22 | x << 12 | p << 11).tolist())]
    path = write(tmp_path / "a.aedat", of_chip(words, "Davis346BMono"))
    _, _, reference = read_davis_346(path)
    events = decode(open_recording(path))
    for name in "txyp":
        np.testing.assert_array_equal(getattr(events, name), reference[name])


word = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**20))


@given(words=st.lists(word, min_size=1, max_size=60), block=st.sampled_from([8, 80, 1 << 20]))
def test_any_words_of_a_davis_are_kept_or_counted(tmp_path: Path, words: list[tuple[int, int]], block: int):
    # Within the sensor, because one event outside ends the recording.
    words = [(a if a >> 31 else (a >> 22) % 260 << 22 | (a >> 12 & 1023) % 346 << 12 | a & 0xFFF, t) for a, t in words]
    path = write(tmp_path / "a.aedat", of_chip(words, "Davis346blue"))
    opened = open_recording(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "BLOCK_BYTES", block)
        events = decode(opened)
    kept = [(a, t) for a, t in words if not a >> 31 and not a >> 10 & 1]
    assert columns(events) == {
        "t": [t for _, t in kept],
        "x": [345 - (a >> 12 & 1023) for a, _ in kept],
        "y": [259 - (a >> 22) for a, _ in kept],
        "p": [a >> 11 & 1 for a, _ in kept],
    }
    imu = sum(a >> 31 and a >> 10 & 3 == 3 for a, _ in words)
    samples = sum(a >> 31 for a, _ in words)
    counts = {"frame_samples": samples - imu, "imu_samples": imu, "external_events": len(words) - samples - len(kept)}
    assert opened.notes == {f"{name}_left_out": count for name, count in counts.items() if count}


def test_samples_of_frames_and_of_the_imu_and_external_events_of_a_davis_are_counted_apart(tmp_path: Path):
    words = [(179 << 22 | 239 << 12, 1), (1 << 31, 2), (1 << 31 | 3 << 10, 3), (1 << 31 | 1 << 10, 4), (1 << 10, 5)]
    opened = open_recording(write(tmp_path / "a.aedat", of_chip(words, "DAVIS240C")))
    assert columns(decode(opened)) == {"t": [1], "x": [0], "y": [0], "p": [0]}
    assert opened.notes == {"frame_samples_left_out": 2, "imu_samples_left_out": 1, "external_events_left_out": 1}


@pytest.mark.parametrize("beyond", [240 << 12, 180 << 22])
def test_the_first_column_and_row_beyond_a_davis_are_refused(tmp_path: Path, beyond: int):
    path = write(tmp_path / "a.aedat", of_chip([(0, 1), (beyond, 2)], "DAVIS240C"))
    with pytest.raises(RecordingError, match="expected"):
        decode(open_recording(path))


@pytest.mark.real
def test_a_real_davis240_keeps_its_pixels_and_counts_its_imu(real_data: Path, capsys: pytest.CaptureFixture[str]):
    path = real_data / "readers" / "davis240-with-imu.aedat"
    opened = open_recording(path)
    events = decode(opened)
    assert (opened.height, opened.width, opened.sensor, opened.start) == (180, 240, "DAVIS240", 175_268)
    address, t = np.frombuffer(path.read_bytes()[opened.start :], ">u4").reshape(-1, 2).astype(np.int64).T
    kept = address >> 31 == 0
    np.testing.assert_array_equal(events.t, t[kept])
    np.testing.assert_array_equal(events.x, 239 - (address[kept] >> 12 & 1023))
    np.testing.assert_array_equal(events.y, 179 - (address[kept] >> 22))
    np.testing.assert_array_equal(events.p, address[kept] >> 11 & 1)
    assert opened.notes == {"imu_samples_left_out": np.count_nonzero(~kept)}
    assert run("inspect", path, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["height"], facts["width"], facts["events"]) == (180, 240, 162_771)
    assert facts["notes"] == {"imu_samples_left_out": 33_837}


def test_a_davis_recording_is_read_up_to_the_damage(tmp_path: Path):
    words = v2e_words(np.array([[t, 3, 4, 1] for t in range(5000)]), (180, 240))
    words[3000] = (1 << 31, 1)
    words[4000] = (200 << 22, 1)
    path = write(tmp_path / "a.aedat", of_chip(words, "DAVIS240C"))
    with pytest.raises(RecordingError, match="found row 200, column 0 in the event at byte"):
        decode(open_recording(path))
    opened = dataclasses.replace(open_recording(path), salvage=True)
    assert decode(opened).t.tolist() == [t for t in range(4000) if t != 3000]
    assert opened.notes == {
        "frame_samples_left_out": 1,
        "recordings_salvaged": 1,
        "bytes_lost_to_damage": 8 * 1000,
    }


@pytest.mark.parametrize(
    ("source", "size", "given"),
    [
        ("DVS128", (128, 128), None),
        ("DAVIS240C", (180, 240), None),
        ("DAVIS346B", (260, 346), (480, 640)),
        ("DAVIS346Cbsi", (260, 346), None),
        ("DAVIS640", (480, 640), None),
        ("DAVISHet640", (240, 320), None),
        ("File,dvsSizeX=300,dvsSizeY=200,apsSizeX=300,apsSizeY=200", (200, 300), None),
        ("Processor DVXplorer", (720, 1280), (720, 1280)),
        (None, (4000, 5000), (4000, 5000)),
        (None, (128, 128), None),
    ],
)
@pytest.mark.parametrize("version", ["3.1", "3.0"])
def test_the_size_of_an_aedat3_sensor_is_in_its_source_or_given(
    tmp_path: Path, source: str | None, size: Size, given: Size | None, version: str
):
    header = (f"#!AER-DAT{version}", "#Format: RAW", *([f"#Source 1: {source}"] if source else []))
    rows, last = size[0] - 1, size[1] - 1
    events = [(5, last, 0, 1), (6, 0, rows, 0)]
    frames = Packet(bytes(36 + 2 * 4), kind=2, size=36 + 2 * 4)
    packets = [frames, Packet(polarity_payload(events)), Packet(bytes(72), kind=3, size=36), Packet(bytes(8), kind=0)]
    content = text_header(header) if version == "3.0" else aedat31([], header)
    content += b"".join(packet.to_bytes() for packet in packets)
    opened = open_recording(write(tmp_path / "a.aedat", content), size=given)
    assert (opened.height, opened.width, opened.format) == (*size, f"AEDAT {version}")
    # Version 3.0 counts rows from the bottom.
    y = [0, rows] if version == "3.1" else [rows, 0]
    assert columns(decode(opened)) == {"t": [5, 6], "x": [last, 0], "y": y, "p": [1, 0]}
    assert opened.notes == {"events_of_other_kinds_skipped": 4}


def test_an_event_outside_a_sensor_of_aedat3_says_its_row_from_the_top(tmp_path: Path):
    content = (
        text_header(("#!AER-DAT3.0", "#Source 1: DAVIS240C")) + Packet(polarity_payload([(1, 3, 180, 0)])).to_bytes()
    )
    with pytest.raises(
        RecordingError, match=r"expected a pixel within 180x240 .*, found row -1, column 3 in the event"
    ):
        decode(open_recording(write(tmp_path / "a.aedat", content)))


def test_a_davis_recording_of_aedat31_equals_spikingjelly(tmp_path: Path):
    from spikingjelly.datasets.utils import load_aedat_v3

    rng = np.random.default_rng(4)
    rows = np.stack([np.arange(9000), *(rng.integers(0, n, 9000) for n in (346, 260, 2))], axis=1)
    packets = []
    for at in range(0, 9000, 900):
        packets += [Packet(polarity_payload(rows[at : at + 900].tolist())), Packet(bytes(90_036), kind=2, size=90_036)]
    path = write(tmp_path / "a.aedat", aedat31(packets, ("#!AER-DAT3.1", "#Format: RAW", "#Source 1: DAVIS346B")))
    events, reference = decode(open_recording(path)), load_aedat_v3(path)
    for name in "txyp":
        np.testing.assert_array_equal(getattr(events, name), reference[name])


def run(*argv: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[*map(str, argv)])


def test_cifar10_dvs_refuses_the_recordings_of_other_sensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from preprocess.datasets.cifar10_dvs import CLASSES

    words = v2e_words(np.array([[t, 3, 4, 1] for t in range(50)]), (180, 240))
    for name in CLASSES:
        (tmp_path / "src" / name).mkdir(parents=True)
        path = write(tmp_path / "src" / name / f"cifar10_{name}_0.aedat", aedat2([(3, t) for t in range(50)]))
    for chip in ("DAVIS240C", "DAVIS128"):
        write(path, of_chip(words, chip))
        assert run("preprocess", "cifar10-dvs", "--source", tmp_path / "src", "--cache", tmp_path / "cache") == 2
        found = f"expected a recording of a DVS128, found one of a {chip.rstrip('C')} in the header."
        assert found in " ".join(capsys.readouterr().err.split())
    write(path, aedat2(words))
    assert run("preprocess", "cifar10-dvs", "--source", tmp_path / "src", "--cache", tmp_path / "cache") == 2
    assert "expected DVS128 addresses of 16 bits" in " ".join(capsys.readouterr().err.split())


def test_dvs_gesture_refuses_the_recordings_of_other_sensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "DvsGesture"
    folder.mkdir()
    (folder / "trials_to_train.txt").write_text("user01_led.aedat\n")
    (folder / "trials_to_test.txt").write_text("")
    (folder / "user01_led_labels.csv").write_text("class,startTime_usec,endTime_usec\n1,0,100\n")
    for sensor in ("DAVIS240", "DAVIS128"):
        content = aedat31([Packet(polarity_payload([(5, 1, 1, 1)]))], ("#!AER-DAT3.1", f"#Source 1: {sensor}"))
        write(folder / "user01_led.aedat", content)
        assert run("preprocess", "dvs-gesture", "--source", folder, "--cache", tmp_path / "cache") == 2
        found = f"expected a recording of a DVS128, found one of a {sensor} in the header."
        assert found in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("size", [(260, 346), (480, 640)])
def test_a_folder_of_v2e_files_takes_the_size_of_the_sensor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: Size
):
    rows = np.array([[100 * t, t % 200, t % 180, t % 2] for t in range(200)])
    for label in ("cat", "dog"):
        (tmp_path / "src" / label).mkdir(parents=True)
        write(tmp_path / "src" / label / "a.aedat", aedat2(v2e_words(rows, size), V2E_HEADER))
    words = ("preprocess", "folder", "--source", tmp_path / "src", "--cache", tmp_path / "cache", "--name", "v2e")
    assert run(*words) == 2
    assert "--sensor-size 180 240 or 260 346 or 480 640." in " ".join(capsys.readouterr().err.split())
    assert run(*words, "--sensor-size", *size, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["read_as"]["height"] == size[0] and facts["events"] == 400
