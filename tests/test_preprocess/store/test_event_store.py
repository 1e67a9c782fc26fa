"""The event store gives back every event, in any process or thread, or says which sample is damaged."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from messages import refuses
from tiny_layout import TinyLayout, TinySample, TinySource, random_events, save_events, tiny_layout

from preprocess.building.build_event_store import build_event_store
from preprocess.errors import CacheError, CacheMismatchError
from preprocess.events import Events
from preprocess.store import blosc_library as blosc
from preprocess.store import chunk_compression as chunks
from preprocess.store.event_store import CHUNK_EVENTS, EventStore, open_events, time_deltas
from preprocess.store.fletcher32 import fletcher32


def equal(a: Events, b: Events) -> bool:
    return all(np.array_equal(getattr(a, column), getattr(b, column)) for column in "txyp")


@pytest.fixture(scope="module")
def samples() -> list[Events]:
    counts = [1, 2, 700, 3, 90_000, 40, 33_000]
    return [random_events(i, count, ordered=i % 2 == 0) for i, count in enumerate(counts)]


@pytest.fixture(scope="module")
def store_path(samples: list[Events], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    return build_event_store(tiny_layout(folder / "src", samples, chunk=5000), folder / "cache")


def test_every_event_comes_back_in_order(store_path: Path, samples: list[Events]):
    store = open_events(store_path)
    assert (len(store), store.height, store.width, store.dataset) == (7, 8, 10, "tiny")
    assert store.classes == ("class0", "class1", "class2")
    for i in [4, 0, 6, 1, 2, 3, 5, 4]:
        assert equal(store.read(i), samples[i]), i
        store.check_sample(i)


def test_file_is_what_the_design_says(store_path: Path, samples: list[Events]):
    with h5py.File(store_path) as file:
        assert file.attrs["format"] == "spikeloom-events"
        assert {"version", "dataset", "height", "width", "classes", "fingerprint", "table_sha256"} <= set(file.attrs)
        assert file["events/address"].dtype == np.uint8  # 2 * 8 * 10 - 1 = 159
        assert file["events/time_delta"].dtype == np.uint32
        for name in ("address", "time_delta"):
            assert chunks._filters(file["events"][name]) == ["blosc", "fletcher32"]
        offset = file["samples/offset"][...]
        np.testing.assert_array_equal(np.diff(offset), [len(s) for s in samples])
        assert np.all(file["events/time_delta"][...][offset[:-1]] == 0)
        # Any HDF5 reader gets the same: sample 2 from its columns by the documented formulae.
        part = slice(offset[2], offset[3])
        address = file["events/address"][part].astype(int)
        np.testing.assert_array_equal(address % 10, samples[2].x)
        np.testing.assert_array_equal(address // 10 % 8, samples[2].y)
        np.testing.assert_array_equal(address // 80, samples[2].p)
        t = file["samples/start_us"][2] + np.cumsum(file["events/time_delta"][part].astype(np.int64))
        np.testing.assert_array_equal(t, samples[2].t)
        names = [name.decode() for name in file["samples/name"]]
        assert names[3] == "sämple3"


def test_table_says_where_samples_come_from(store_path: Path, samples: list[Events]):
    table = open_events(store_path).samples
    assert table.label.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert table.split.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert table.index.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert table.group.tolist() == ["user0", "user1", "user2", "user3", "user0", "user1", "user2"]
    assert table.start_us.tolist() == [int(s.t[0]) for s in samples]
    assert table.interval_us.tolist() == [[int(s.t.min()), int(s.t.max()) + 1] for s in samples]


def test_times_survive_every_jump(tmp_path: Path):
    half = 1 << 31
    t = np.array([4_000_000_000, 5, 5, 5 + half, 4, 4 + half - 1, 0, 1 << 40, 3, 2, 4_294_967_295, 0], np.int64)
    zeros = np.zeros(len(t), np.uint16)
    sample = Events(t, zeros, zeros, zeros.astype(np.uint8), 8, 10)
    path = build_event_store(tiny_layout(tmp_path / "src", [sample, sample], chunk=5), tmp_path / "cache")
    store = open_events(path)
    np.testing.assert_array_equal(store.times(0), t)
    np.testing.assert_array_equal(store.times(1), t)
    with h5py.File(path) as file:
        modulo = np.cumsum(file["events/time_delta"][: len(t)], dtype=np.uint32) + np.uint32(t[0])
        np.testing.assert_array_equal(modulo, t.astype(np.uint32))


@hypothesis.given(
    st_numpy.arrays(np.int64, st.integers(1, 30), elements=st.integers(-(1 << 45), 1 << 45)),
    st.one_of(st.none(), st.integers(0, 1 << 45)),
)
def test_time_deltas_lose_nothing(t: np.ndarray, previous: int | None):
    delta, at, lacking = time_deltas(t, previous)
    step = delta.view(np.int32).astype(np.int64)
    step[at] += lacking
    np.testing.assert_array_equal(np.cumsum(step) + (t[0] if previous is None else previous), t)
    if previous is None:
        assert delta[0] == 0


def test_events_in_two_intervals_are_in_both_samples(tmp_path: Path):
    whole = random_events(3, 4000, ordered=False)
    (tmp_path / "src").mkdir()
    save_events(tmp_path / "src" / "r.npy", whole)
    bounds = [(1000, 50_000), (30_000, 80_000), (80_000, 90_000)]
    about = tuple(TinySample(0, 255, i, "", f"s{i}", *b) for i, b in enumerate(bounds))
    source = TinySource(tmp_path / "src" / "r.npy", "r.npy", about)
    layout = TinyLayout("tiny", "tiny", 8, 10, ("only",), (source,), chunk=100)
    store = open_events(build_event_store(layout, tmp_path / "cache"))
    for i, (start, end) in enumerate(bounds):
        assert equal(store.read(i), whole[(whole.t >= start) & (whole.t < end)])
    assert store.samples.interval_us.tolist() == [list(b) for b in bounds]


def read_all(store: EventStore) -> list[int]:
    return [int(store.addresses(i).sum(dtype=np.int64) + store.times(i).sum()) for i in range(len(store))]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_store_travels_to_other_processes(store_path: Path, method: str):
    store = open_events(store_path)
    expected = read_all(store)  # opens the file here first, which a fork inherits
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(read_all, [store] * 4) == [expected] * 4
    assert read_all(store) == expected


def test_threads_share_a_store(store_path: Path):
    store = open_events(store_path)
    expected = read_all(open_events(store_path))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: read_all(store), range(12))) == [expected] * 12


def test_a_pickle_is_a_path(store_path: Path):
    store = open_events(store_path)
    store.read(0)
    assert len(pickle.dumps(store)) < 500
    store.close()
    assert equal(pickle.loads(pickle.dumps(store)).read(2), store.read(2))


def test_a_pickle_refuses_a_file_that_was_rebuilt(tmp_path: Path):
    layout = tiny_layout(tmp_path / "src", [random_events(1)])
    store = open_events(build_event_store(layout, tmp_path / "cache"))
    pickled = pickle.dumps(store)
    save_events(tmp_path / "src" / "r000.npy", random_events(2))
    build_event_store(layout, tmp_path / "cache")
    with pytest.raises(
        CacheMismatchError,
        match=r"expected fingerprint .*, found .*The file was rebuilt meanwhile; run the same command again",
    ):
        pickle.loads(pickled)


def test_missing_store_names_the_command(tmp_path: Path):
    with pytest.raises(CacheError) as error:
        open_events(tmp_path / "n-mnist" / "events.h5")
    assert str(error.value) == (
        f"{tmp_path}/n-mnist/events.h5: expected an event store, found no such file. "
        f"Make it: spikeloom preprocess n-mnist --source DIR --cache {tmp_path}"
    )


def change(path: Path, edit) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda f: f.attrs.modify("format", "spikeloom-frames"), "expected format spikeloom-events, found spikeloom"),
        (lambda f: f.attrs.modify("version", 99), "expected spikeloom-events version 1, found 99. Make it: "),
        (
            lambda f: f["samples/label"].__setitem__(0, 2),
            "damaged: the sample table or an attribute does not match its",
        ),
        (lambda f: f.attrs.modify("height", 9), "damaged: the sample table or an attribute does not match its seal"),
        (lambda f: f.attrs.modify("dataset", "other"), "does not match its seal"),
        (lambda f: f.__delitem__("samples/name"), "expected an event store, found one that cannot be read"),
        (lambda f: f.__delitem__("events/jump_at"), "expected an event store, found one that cannot be read"),
    ],
)
def test_a_changed_description_is_refused(store_path: Path, tmp_path: Path, edit, message: str):
    path = change(Path(shutil.copy(store_path, tmp_path)), edit)
    with pytest.raises(CacheError) as error:
        open_events(path)
    assert message in str(error.value)
    assert str(path) in str(error.value) and len(error.value.errors) == 1


def test_a_column_that_claims_more_than_its_file_has_is_refused(store_path: Path, tmp_path: Path):
    def claim(file: h5py.File) -> None:
        del file["samples/offset"]
        file.create_dataset("samples/offset", (1 << 40,), np.int64, chunks=(1 << 10,))

    path = change(Path(shutil.copy(store_path, tmp_path)), claim)
    with refuses(
        CacheError, where="events.h5", found="offset claims 8,796,093,022,208 bytes, and the file has 0 of them"
    ):
        open_events(path)


def test_no_hdf5_and_a_cut_file_are_refused(store_path: Path, tmp_path: Path):
    text = tmp_path / "events.h5"
    text.write_text("hello")
    with pytest.raises(CacheError, match="expected an event store, found one that cannot be read"):
        open_events(text)
    text.write_bytes(store_path.read_bytes()[:-2000])
    with pytest.raises(CacheError, match="expected an event store, found one that cannot be read"):
        open_events(text)


def test_a_flipped_byte_in_a_chunk_names_the_sample(store_path: Path, tmp_path: Path, samples: list[Events]):
    with h5py.File(store_path) as file:
        place = file["events/address"].id.get_chunk_info_by_coord((CHUNK_EVENTS,))
    data = bytearray(store_path.read_bytes())
    data[place.byte_offset + place.size // 2] ^= 0x10
    path = tmp_path / "events.h5"
    path.write_bytes(data)
    store = open_events(path)
    assert equal(store.read(2), samples[2])  # in another chunk
    with pytest.raises(
        CacheError,
        match=r"events.h5: sample 4 \('sämple4'\) is damaged \(the checksum of a chunk does not match its bytes",
    ):
        store.read(4)


def test_consecutive_samples_are_read_together_and_the_damaged_one_is_named(
    store_path: Path, tmp_path: Path, samples: list[Events]
):
    store = open_events(store_path)
    some = range(1, 5)
    np.testing.assert_array_equal(store.addresses_of(some), np.concatenate([store.addresses(i) for i in some]))
    np.testing.assert_array_equal(store.times_of(some), np.concatenate([store.times(i) for i in some]))
    for events, most in ((1, 9), (1000, 9), (10**9, 2), (10**9, 9)):
        groups = store.groups(events, most)
        assert [i for group in groups for i in group] == list(range(len(samples)))
        assert all(len(group) == 1 or store.samples.events[group].sum() <= events for group in map(list, groups))
        assert max(map(len, groups)) <= most
    path = shutil.copy(store_path, tmp_path / "events.h5")
    with h5py.File(path) as file:
        place = file["events/address"].id.get_chunk_info(0).byte_offset + 40
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CacheError, match="sample 0 "):
        open_events(path).addresses_of(range(len(samples)))


def test_no_flipped_byte_is_ever_read_as_events(tmp_path: Path, share_of):
    samples = [random_events(i, 60) for i in range(3)]
    path = build_event_store(tiny_layout(tmp_path / "src", samples), tmp_path / "cache")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.choice(len(whole), min(len(whole), share_of(10_000)), replace=False):
        data = bytearray(whole)
        data[at] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            store = open_events(path)
            assert all(equal(store.read(i), sample) for i, sample in enumerate(samples)), at
            store.close()
        except CacheError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("size", [0, 1, 2, 3, 719, 720, 721, 5000, 100_001])
@pytest.mark.parametrize("kind", ["any", "zeros", "ones"])
def test_checksum_is_the_one_of_hdf5(tmp_path: Path, size: int, kind: str):
    data = np.random.default_rng(size).integers(0, 256, max(size, 1)).astype(np.uint8)
    data[: size // 3] = 255
    if kind != "any":
        data[:] = 255 * (kind == "ones")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("x", data=data, chunks=data.shape, fletcher32=True)
        file.flush()
        _, stored = dataset.id.read_direct_chunk((0,))
    assert stored[:-4] == data.tobytes()
    assert int(fletcher32(data)) == int.from_bytes(stored[-4:], "little")


@pytest.mark.parametrize("codec", [chunks.FRAMES, chunks.ADDRESSES, chunks.TIMES], ids=str)
@pytest.mark.parametrize("direct", [True, False])
def test_chunks_read_the_same_with_and_without_the_pipeline(
    tmp_path: Path, monkeypatch, direct: bool, codec: chunks.Codec
):
    values = np.random.default_rng(1).integers(0, 9, 10_007).astype(np.uint16)
    if not direct:
        monkeypatch.setattr(blosc, "load", lambda: None)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = chunks.create(file, "x", values.shape, values.dtype, (1000,), codec)
        for k in range(0, len(values), 1000):
            chunks.write(dataset, (k,), chunks.pack(values[k : k + 1000], codec, dataset.chunks))
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["x"][...], values)
        reader = chunks.ChunkReader(file["x"])
        assert (reader._descriptor is not None) == direct
        for l, r in [(0, 10_007), (999, 1001), (1000, 2000), (10_000, 10_007), (5, 5), (10_006, 10_007)]:
            np.testing.assert_array_equal(reader.read_range(l, r), values[l:r])
