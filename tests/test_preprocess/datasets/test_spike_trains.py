"""SHD and SSC: spikes and frames of every sample are those of tonic and SpikingJelly, with labels and splits."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from mutated_files import decoded_or_refused

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.commands import inspect_recording, preprocess
from preprocess.datasets import find_layout
from preprocess.datasets.download import list_remotes
from preprocess.errors import LayoutError, RecordingError
from preprocess.formats import NO_OPTIONS, open_recording
from preprocess.formats.hdf5 import spike_trains
from preprocess.formats.hdf5.spike_trains import PERIOD_US
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames

CLASSES = [b"zero", b"one", b"two", b"null", b"eins", b"zwei"]


def write(
    path: Path, samples: int, seed: int, kind: type = np.float16, **more: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    """A file of the format of SHD, whose times are 16-bit floats; returns times and units of each sample."""
    rng = np.random.default_rng(seed)
    spikes = []
    for _ in range(samples):
        n = int(rng.integers(30, 300))
        spikes.append((np.sort(rng.random(n)).astype(kind), rng.integers(0, 700, n).astype(np.uint16)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for k, (name, dtype) in enumerate((("times", kind), ("units", np.uint16))):
            column = file.create_dataset(f"spikes/{name}", (samples,), h5py.vlen_dtype(dtype))
            for i in range(samples):
                column[i] = spikes[i][k]
        file["labels"] = rng.permutation(np.arange(samples) % len(CLASSES)).astype(np.uint16)
        file["extra/keys"] = np.array(CLASSES)
        file["extra/speaker"] = (np.arange(samples) % 5).astype(np.uint16)
        for name, values in more.items():
            del file[name]
            file[name] = values
    return spikes


@pytest.mark.parametrize("chunk", [1 << 17, 500])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_spikes_and_frames_are_those_of_tonic_and_spikingjelly(
    tmp_path: Path, kind: type, chunk: int, monkeypatch: pytest.MonkeyPatch
):
    from spikingjelly.datasets.shd import _integrate_events_by_fixed_frames_number
    from tonic.datasets import hsd

    monkeypatch.setattr(spike_trains, "_EVENTS_A_CHUNK", chunk)
    monkeypatch.setattr(spike_trains, "_SAMPLES_A_READ", 7)
    monkeypatch.setattr(hsd.SHD, "_check_exists", lambda self: True)
    spikes = write(tmp_path / "src" / "SHD" / "shd_train.h5", 40, 1, kind)
    spikes += write(tmp_path / "src" / "SHD" / "shd_test.h5", 20, 2, kind)
    layout = find_layout("shd", tmp_path / "src")
    assert (layout.name, layout.height, layout.width) == ("shd", 1, 700)
    assert layout.classes == tuple(name.decode() for name in CLASSES)
    store = open_events(build_event_store(layout, tmp_path / "cache"))
    frames = open_frames(ensure_frames(tmp_path / "cache", "shd", Binning(5)))
    assert store.samples.split.tolist() == [0] * 40 + [1] * 20
    assert store.samples.group[3] == "speaker 3" and store.samples.name[41] == "test/1"
    peers = [(part, k) for part, n in ((True, 40), (False, 20)) for k in range(n)]
    for number, ((train, k), (times, units)) in enumerate(zip(peers, spikes, strict=True)):
        events = store.read(number)
        np.testing.assert_array_equal(events.x, units)
        assert set(events.y.tolist()) == {0} and set(events.p.tolist()) == {1}
        exact = times.astype(np.float64) * 1e6
        np.testing.assert_array_equal(events.t - k * PERIOD_US, np.floor(exact + 0.5))
        assert store.samples.interval_us[number].tolist() == [events.t[0], events.t[-1] + 1]
        theirs, label = hsd.SHD(str(tmp_path / "src"), train=train)[k]
        np.testing.assert_array_equal(theirs["t"], exact.astype(int))
        np.testing.assert_array_equal(theirs["x"], events.x)
        assert label == store.samples.label[number]
        of_spikingjelly = _integrate_events_by_fixed_frames_number({"t": times, "x": units}, "number", 5, 700)
        counts = frames.read(number)
        np.testing.assert_array_equal(counts[:, 1, 0, :], of_spikingjelly)
        assert counts[:, 0].max() == 0


def test_one_split_is_read_and_the_validation_file_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path / "src" / "ssc_train.h5", 12, 3)
    write(tmp_path / "src" / "ssc_valid.h5", 5, 4)
    preprocess.run(["ssc", "--source", str(tmp_path / "src"), "--cache", str(tmp_path / "cache"), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["samples"] == 12 and answer["splits"] == {"train": 12}
    assert [unread["example"] for unread in answer["not_read"]] == ["ssc_valid.h5"]
    with pytest.raises(RecordingError, match=r"found a data set of spike trains, as SHD or SSC\. Read the folder"):
        inspect_recording.run([str(tmp_path / "src" / "ssc_train.h5")])


def test_archives_of_tonic_are_unpacked_and_downloaded_by_its_addresses(tmp_path: Path):
    write(tmp_path / "shd_train.h5", 6, 3)
    with zipfile.ZipFile(tmp_path / "shd_train.h5.zip", "w") as archive:
        archive.write(tmp_path / "shd_train.h5", "shd_train.h5")
    (tmp_path / "shd_train.h5").unlink()
    layout = find_layout("shd", tmp_path)
    assert [r.relative for r in layout.recordings] == ["shd_train/shd_train.h5"]
    for name in ("shd", "ssc"):
        remotes = list_remotes(name)
        assert [remote.name for remote in remotes] == [f"{name}_train.h5.zip", f"{name}_test.h5.zip"]
        assert all(len(remote.md5) == 32 and remote.url.endswith(remote.name) for remote in remotes)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"labels": np.zeros(5, np.uint16)},
            "expected a label, times and units for each sample, found 5 and 8 of them.",
        ),
        (
            {"labels": np.zeros((8, 2))},
            "expected the data sets labels, spikes/times and spikes/units, found extra, labels",
        ),
        ({"labels": np.array([0] * 7 + [-1])}, "expected labels of 0 to 9999, found -1 for sample 7. The file is"),
        ({"labels": np.array([3, 1 << 40] * 4)}, "expected labels of 0 to 9999, found 1099511627776 for sample 1."),
        ({"spikes/times": np.zeros(8)}, "numbers for each sample in spikes/times, found float64 in one array."),
        ({"spikes/units": np.zeros(8, "S3")}, "numbers for each sample in spikes/units, found |S3 in one array."),
    ],
)
def test_files_without_their_columns_are_refused(tmp_path: Path, more: dict[str, Any], message: str):
    write(tmp_path / "shd_train.h5", 8, 1, **more)
    with pytest.raises(LayoutError) as refused:
        find_layout("shd", tmp_path)
    (line,) = refused.value.errors
    assert message in line


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("units", np.array([3, 700], np.uint16), "expected units of 0 to 699, found 3 to 700 in sample 4."),
        ("units", np.array([3], np.uint16), "expected a unit for each time, found "),
        ("times", np.array([0.5, np.nan]), "expected times of 0 to 1099511 s, found nan in sample 4."),
        ("times", np.array([-0.5, 0.5]), "found -0.5 in sample 4."),
    ],
)
def test_samples_that_are_no_spikes_are_refused(tmp_path: Path, column: str, values: np.ndarray, message: str):
    path = tmp_path / "shd_train.h5"
    write(path, 8, 1)
    with h5py.File(path, "r+") as file:
        times = np.zeros(len(values)) if column == "units" and len(values) > 1 else file["spikes/times"][4]
        file["spikes/times"][4] = times.astype(np.float16)
        file[f"spikes/{column}"][4] = values
    with pytest.raises(RecordingError) as refused:
        list(open_recording(path, format="spike-trains").chunks())
    assert message in str(refused.value)


def test_unsorted_times_are_read_as_they_are_and_counted(tmp_path: Path):
    write(tmp_path / "ssc_train.h5", 8, 1)
    with h5py.File(tmp_path / "ssc_train.h5", "r+") as file:
        file["spikes/times"][4] = np.array([0.5, 0.25, 0.75])
        file["spikes/units"][4] = np.array([3, 1, 2])
    store = open_events(build_event_store(find_layout("ssc", tmp_path), tmp_path / "cache"))
    assert (store.read(4).t - 4 * PERIOD_US).tolist() == [500_000, 250_000, 750_000]
    assert store.out_of_order == {"samples": 1, "events": 1}


@pytest.mark.slow
def test_mutated_files_are_decoded_or_refused_and_never_crash(tmp_path: Path, share_of: Callable[[int], int]):
    write(tmp_path / "base.h5", 30, 1)
    contents = [("a.h5", (tmp_path / "base.h5").read_bytes(), NO_OPTIONS)]
    decoded_or_refused(tmp_path, contents, (1, 700), share_of(5000), format="spike-trains")
