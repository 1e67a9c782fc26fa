"""Raw formats decode to the events that SpikingJelly decodes, chunk by chunk and in bounded memory."""

from __future__ import annotations

import dataclasses
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import raw_files
from hypothesis import given
from hypothesis import strategies as st
from raw_files import Packet, aedat2, aedat31, atis, polarity_payload

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import Recording, open_recording, recording

pixel = st.integers(0, 127)
polarity_events = st.lists(st.tuples(st.integers(0, 2**32 - 1), pixel, pixel, st.integers(0, 1)), max_size=30)


def decode(opened: Recording) -> Events:
    return Events.concatenate(opened.chunks(), opened.height, opened.width)


def assert_equal_to(events: Events, reference: dict[str, np.ndarray]) -> None:
    for name in "txyp":
        column = getattr(events, name)
        np.testing.assert_array_equal(column, reference[name], name)
    assert (events.t.dtype, events.x.dtype, events.p.dtype) == (np.int64, np.uint16, np.uint8)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.real
def test_real_gesture_recording_equals_spikingjelly(real_data: Path):
    from spikingjelly.datasets.utils import load_aedat_v3

    for path in real_data.rglob("DvsGesture/*.aedat"):
        opened = open_recording(path)
        assert (opened.format, opened.height, opened.width) == ("AEDAT 3.1", 128, 128)
        assert_equal_to(decode(opened), load_aedat_v3(path))


@pytest.mark.real
def test_real_dvs128_recordings_equal_spikingjellys_cifar10_dvs_reader(real_data: Path):
    from spikingjelly.datasets.cifar10_dvs import _load_origin_data

    readers = real_data / "readers"
    paths = sorted(real_data.glob("dvs128-objects/*/*/*.aedat"))
    paths += [readers / "mnist-dvs_0_scale04_0001.aedat", readers / "stray-address-bits.aedat"]
    assert len(paths) > 5
    for path in paths:
        opened = open_recording(path)
        assert opened.format == "AEDAT 2.0"
        assert_equal_to(decode(opened), _load_origin_data(path))
    assert opened.notes == {"events_marked_special": 318}


@pytest.mark.real
def test_real_n_mnist_equals_spikingjelly(real_data: Path):
    from spikingjelly.datasets.utils import load_ATIS_bin

    paths = sorted(real_data.glob("n-mnist/*/*/*.bin"))
    assert len(paths) == 1000
    for path in paths:
        assert_equal_to(decode(open_recording(path)), load_ATIS_bin(path))


@given(
    st.lists(
        st.builds(
            lambda events, kind, overflow, valid, spare: Packet(
                polarity_payload(events, valid), kind, 8, overflow, number=max(0, len(events) - spare)
            ),
            polarity_events,
            st.sampled_from([0, 1, 1, 1, 2, 3]),
            st.integers(0, 2**32 - 1),
            st.integers(0, 1),
            st.integers(0, 2),
        )
        # Packets of other types have events of any size, so that what follows lies at any byte.
        | st.builds(lambda size, n: Packet(bytes(size * n), 2, size), st.integers(0, 9), st.integers(0, 5)),
        max_size=6,
    )
)
def test_any_packets_equal_spikingjelly(tmp_path: Path, packets: list[Packet]):
    from spikingjelly.datasets.utils import load_aedat_v3

    # SpikingJelly keeps the events that are marked invalid.
    valid = [packet for packet in packets if packet.kind != 1 or not packet.payload or packet.payload[0] & 1]
    theirs = load_aedat_v3(write(tmp_path / "valid.aedat", aedat31(valid)))
    assert_equal_to(decode(open_recording(write(tmp_path / "a.aedat", aedat31(packets)))), theirs)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1)), min_size=1, max_size=40))
def test_any_dvs128_addresses_equal_spikingjelly(tmp_path: Path, words: list[tuple[int, int]]):
    from spikingjelly.datasets.cifar10_dvs import _load_origin_data

    path = write(tmp_path / "a.aedat", aedat2(words))
    opened = open_recording(path)
    decoded = decode(opened)
    # SpikingJelly leaves the clock's wraps at 2^32 alone.
    assert_equal_to(dataclasses.replace(decoded, t=decoded.t % 2**32), _load_origin_data(path))
    assert opened.notes.get("events_marked_special", 0) == sum(address >> 15 for address, _ in words)


atis_events = st.tuples(st.integers(0, 2**23 - 1), st.integers(0, 33), st.integers(0, 33), st.integers(0, 1))


@given(st.lists(atis_events, min_size=1))
def test_any_atis_events_equal_spikingjelly(tmp_path: Path, events: list[tuple[int, int, int, int]]):
    from spikingjelly.datasets.utils import load_ATIS_bin

    path = write(tmp_path / "a.bin", atis(events))
    decoded = decode(open_recording(path))
    # SpikingJelly leaves the clock's wraps at 2^23 alone.
    decoded = dataclasses.replace(decoded, t=decoded.t % 2**23)
    assert_equal_to(decoded, load_ATIS_bin(path))
    assert list(zip(*(getattr(decoded, name).tolist() for name in "txyp"), strict=True)) == events


def test_both_orientations_of_a_dvs128(tmp_path: Path):
    xr, yr = 3, 100
    path = write(tmp_path / "a.aedat", aedat2([(yr << 8 | xr << 1, 5), (yr << 8 | xr << 1 | 1, 6)]))
    opened = open_recording(path)
    assert raw_files.columns(decode(opened)) == {"t": [5, 6], "x": [127 - yr] * 2, "y": [127 - xr] * 2, "p": [1, 0]}
    turned = dataclasses.replace(opened, orientation="clif")
    assert raw_files.columns(decode(turned)) == {"t": [5, 6], "x": [127 - xr] * 2, "y": [yr] * 2, "p": [1, 0]}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("end", [(), ("#End Of ASCII Header",)])
def test_data_starts_after_the_last_line_of_an_aedat2_header(tmp_path: Path, line_end: str, end: tuple[str, ...]):
    header = (*raw_files.AEDAT2_HEADER, "# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128", "#", "#  # two", *end)
    words = [(10, 0x0A0D2323), (0x0D0A, 7)]
    opened = open_recording(write(tmp_path / "a.aedat", aedat2(words, header, line_end)))
    assert opened.header == header
    assert decode(opened).t.tolist() == [0x0A0D2323, 7]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_data_starts_after_the_end_line_of_an_aedat31_header(tmp_path: Path, line_end: str):
    packets = [Packet(b"#!END-HE", kind=ord("#") << 8 | ord("#")), Packet(polarity_payload([(9, 1, 2, 1)]))]
    opened = open_recording(write(tmp_path / "a.aedat", aedat31(packets, line_end=line_end)))
    assert opened.header[-1] == "#!END-HEADER"
    assert raw_files.columns(decode(opened)) == {"t": [9], "x": [1], "y": [2], "p": [1]}


def test_timestamps_beyond_31_bits_count_their_overflows(tmp_path: Path):
    packets = [
        Packet(polarity_payload([(2**31 - 1, 0, 0, 1)])),
        Packet(polarity_payload([(0, 0, 0, 1)]), overflow=1),
        Packet(polarity_payload([(5, 0, 0, 1)]), overflow=3),
    ]
    events = decode(open_recording(write(tmp_path / "a.aedat", aedat31(packets))))
    assert events.t.tolist() == [2**31 - 1, 2**31, 3 * 2**31 + 5]


def test_what_is_odd_is_noted(tmp_path: Path):
    packets = [
        Packet(polarity_payload([(1, 2, 3, 0), (2, 2, 3, 1)], valid=0)),
        Packet(polarity_payload([(3, 4, 5, 1)] * 3), number=1),
        Packet(bytes(16), kind=0),
    ]
    opened = open_recording(write(tmp_path / "a.aedat", aedat31(packets)))
    notes = {"events_marked_invalid_left_out": 2, "events_beyond_the_number_of_their_packet": 2}
    notes["events_of_other_kinds_skipped"] = 2
    assert len(decode(opened)) == 3 and opened.notes == notes
    assert len(decode(opened)) == 3 and opened.notes == notes, "a second pass starts its counts at zero"


@pytest.mark.parametrize("block", [32, 1 << 20])
def test_events_marked_invalid_are_left_out_wherever_they_stand(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("preprocess.formats.recording.BLOCK_BYTES", block)
    rows = [(t, t % 34, 2 * t % 34, t & 1) for t in range(40)]
    valid = np.random.default_rng(3).random(40) < 0.6
    # Cameras leave anything in the slot of an event that is invalid.
    slots = b"".join(
        polarity_payload([row if ok else (7, 999, 999, 1)], valid=int(ok)) for row, ok in zip(rows, valid, strict=True)
    )
    whole, last = aedat31([Packet(slots)]), aedat31([Packet(slots + polarity_payload([(9, 999, 1, 1)]))])
    opened = open_recording(write(tmp_path / "a.aedat", whole))
    events = decode(opened)
    expected = [row for row, ok in zip(rows, valid, strict=True) if ok]
    assert list(zip(events.t, events.x, events.y, events.p, strict=True)) == expected
    assert opened.notes == {"events_marked_invalid_left_out": 40 - len(expected)}
    with pytest.raises(RecordingError, match=f"column 999 in the event at byte {len(last) - 8}"):
        decode(open_recording(write(tmp_path / "b.aedat", last)))


def test_empty_packets_and_files_without_events_are_fine(tmp_path: Path):
    for content in (aedat31([Packet(b"")] * 3 + [Packet(b"", size=0)]), aedat31([]), aedat2([])):
        opened = open_recording(write(tmp_path / "a.aedat", content))
        assert len(decode(opened)) == 0 and opened.notes == {}


@pytest.mark.parametrize("block", [32, 37, 64, 1000])
def test_events_do_not_depend_on_where_blocks_end(tmp_path: Path, monkeypatch, block: int):
    rng = np.random.default_rng(3)
    rows = [tuple(map(int, row)) for row in np.stack([rng.integers(0, n, 500) for n in (2**23, 34, 34, 2)], axis=1)]
    packets, at = [], 0
    while at < len(rows):
        count = int(rng.integers(1, 40))
        # Fifteen bytes of another type, so that what follows lies at any byte.
        packets += [Packet(polarity_payload(rows[at : at + count])), Packet(bytes(15), 0, int(rng.choice([1, 3, 5])))]
        at += count
    files = {"a.aedat": aedat31(packets), "b.aedat": aedat2([(x << 8 | y << 1 | p, t) for t, x, y, p in rows])}
    for name, content in (files | {"c.bin": atis(rows)}).items():
        path = write(tmp_path / name, content)
        whole = decode(open_recording(path))
        with monkeypatch.context() as patch:
            patch.setattr(recording, "BLOCK_BYTES", block)
            chunks = list(open_recording(path).chunks())
        assert len(whole) == 500 and len(chunks) > 2
        assert raw_files.columns(Events.concatenate(chunks, 128, 128)) == raw_files.columns(whole)


def test_chunks_stay_what_they_were(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(recording, "BLOCK_BYTES", 80)
    path = write(tmp_path / "a.aedat", aedat2([(0, t) for t in range(100)]))
    assert np.concatenate([chunk.t for chunk in list(open_recording(path).chunks())]).tolist() == list(range(100))


@pytest.mark.parametrize("events_a_packet", [4096, 5_000_000])
def test_memory_stays_bounded(tmp_path: Path, events_a_packet: int):
    packet = Packet(polarity_payload([(7, 1, 2, 1)]) * events_a_packet).to_bytes()
    path = write(tmp_path / "a.aedat", aedat31([]) + packet * (5_000_000 // events_a_packet))
    for chunk in open_recording(write(tmp_path / "warm.aedat", aedat31([Packet(b"")]))).chunks():
        len(chunk)
    tracemalloc.start()
    try:
        count = sum(len(chunk) for chunk in open_recording(path).chunks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 5_000_000 // events_a_packet * events_a_packet
    assert peak < 8 << 20 < path.stat().st_size


def test_content_goes_before_the_name(tmp_path: Path):
    named_otherwise = write(tmp_path / "a.bin", aedat31([]))
    assert open_recording(named_otherwise).format == "AEDAT 3.1"
    assert open_recording(write(tmp_path / "B.BIN", atis([(1, 2, 3, 1)]))).format == "ATIS .bin"


def test_an_opened_recording_travels_to_another_process(tmp_path: Path):
    opened = open_recording(write(tmp_path / "a.bin", atis([(1, 2, 3, 1)])))
    assert decode(pickle.loads(pickle.dumps(opened))).t.tolist() == [1]
