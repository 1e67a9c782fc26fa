"""Data sets by name become labelled samples: N-Caltech101, N-CARS, DVS-Lip, POKER-DVS and SL-Animals."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from raw_files import aedat2, atis
from test_datasets import refusals, samples_of

from preprocess.building import source_fingerprint
from preprocess.building.build_event_store import build_event_store
from preprocess.cli import COMMANDS
from preprocess.datasets import Layout, find_layout
from preprocess.datasets.download import list_remotes
from preprocess.datasets.layout import Sample
from preprocess.datasets.splits import split_samples
from preprocess.errors import ConfigError, RecordingError
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN
from preprocess.terminal.command_line import run_main


def build(layout: Layout, folder: Path) -> EventStore:
    return open_events(build_event_store(layout, folder / "cache"))


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def dat(events: list[tuple[int, int, int, int]]) -> bytes:
    """N-CARS' .dat: a header without a size, then t, x | y << 14 | p << 28."""
    words = [(t, x | y << 14 | p << 28) for t, x, y, p in events]
    return b"% Data file\n% Version 2\n\x00\x08" + np.array(words, "<u4").tobytes()


def test_caltech_has_a_wide_sensor_and_no_split(tmp_path: Path):
    for name, number in (("accordion", 1), ("accordion", 12), ("yin_yang", 1), ("BACKGROUND_Google", 7)):
        put(tmp_path / "Caltech101" / name / f"image_{number:04}.bin", atis([(5, 230, 170, 1), (9, 0, number, 0)]))
    layout = find_layout("n-caltech101", tmp_path)
    assert (layout.height, layout.width, layout.classes) == (180, 240, ("BACKGROUND_Google", "accordion", "yin_yang"))
    assert samples_of(layout)[1:3] == [
        ("accordion/image_0001", 1, NO_SPLIT, 0, "accordion/image_0001"),
        ("accordion/image_0012", 1, NO_SPLIT, 1, "accordion/image_0012"),
    ]
    assert build(layout, tmp_path).read(2).x.tolist() == [230, 0]


def test_caltech_equals_spikingjellys_and_tonics_reading(tmp_path: Path):
    from spikingjelly.datasets.utils import load_ATIS_bin
    from tonic.io import read_mnist_file

    rng = np.random.default_rng(4)
    events = [(int(t), int(rng.integers(240)), int(rng.integers(180)), int(t % 2)) for t in range(0, 3000, 3)]
    path = tmp_path / "Caltech101" / "ant" / "image_0001.bin"
    put(path, atis(events))
    found = build(find_layout("n-caltech101", tmp_path), tmp_path).read(0)
    theirs = load_ATIS_bin(str(path))
    tonics = read_mnist_file(str(path), np.dtype([("x", int), ("y", int), ("t", int), ("p", int)]))
    for letter in "txyp":
        np.testing.assert_array_equal(getattr(found, letter), theirs[letter])
        np.testing.assert_array_equal(getattr(found, letter), tonics[letter])


def test_caltechs_archive_of_archives_is_unpacked(tmp_path: Path):
    put(tmp_path / "made" / "Caltech101" / "accordion" / "image_0001.bin", atis([(5, 1, 2, 1)]))
    with zipfile.ZipFile(tmp_path / "Caltech101.zip", "w") as archive:
        archive.write(tmp_path / "made/Caltech101/accordion/image_0001.bin", "Caltech101/accordion/image_0001.bin")
    (tmp_path / "download").mkdir()
    with zipfile.ZipFile(tmp_path / "download" / "N-Caltech101-archive.zip", "w") as archive:
        archive.write(tmp_path / "Caltech101.zip", "N-Caltech101-archive/Caltech101.zip")
    assert len(find_layout("n-caltech101", tmp_path / "download").recordings) == 1
    (remote,) = list_remotes("n-caltech101")
    assert remote.name == "N-Caltech101-archive.zip" and remote.md5 == "66201824eabb0239c7ab992480b50ba3"


@pytest.mark.parametrize("names", [("n-cars_train", "n-cars_test"), ("train", "test")])
def test_cars_and_background_have_an_official_split(names: tuple[str, str], tmp_path: Path):
    for part in names:
        for name in ("cars", "background"):
            for number in (1, 2):
                put(tmp_path / "src" / part / name / f"obj_{number:06}_td.dat", dat([(3, 119, 99, 1), (8, 0, 0, 0)]))
    layout = find_layout("n-cars", tmp_path)
    assert (layout.height, layout.width, layout.classes) == (100, 120, ("background", "cars"))
    store = build(layout, tmp_path)
    assert store.samples.split.tolist() == [TRAIN] * 4 + [TEST] * 4
    assert store.samples.label.tolist() == [0, 0, 1, 1] * 2 and store.read(5).y.tolist() == [99, 0]
    shutil.move(tmp_path / "src" / names[0] / "cars", tmp_path / "src" / names[0] / "trucks")
    (line,) = refusals("n-cars", tmp_path)
    assert "expected folders of classes (background, cars), found 'trucks'" in line


@pytest.mark.real
def test_a_real_car_is_read(real_data: Path, tmp_path: Path):
    put(tmp_path / "n-cars_test" / "cars" / "a.dat", (real_data / "readers" / "ncars-car.dat").read_bytes())
    events = build(find_layout("n-cars", tmp_path), tmp_path).read(0)
    assert (len(events), events.height, events.width, int(events.y.max())) == (4407, 100, 120, 60)


def test_letters_equal_spikingjellys_reading(tmp_path: Path):
    from spikingjelly.datasets.asl_dvs import _read_mat_save_to_np

    rng = np.random.default_rng(2)
    t, x = np.cumsum(rng.integers(0, 9, 500))[:, None], rng.integers(0, 240, (500, 1))
    for letter in "ay":
        path = tmp_path / "ASL" / letter / f"{letter}_0001.mat"
        path.parent.mkdir(parents=True)
        y, pol = rng.integers(0, 180, (500, 1)), rng.integers(0, 2, (500, 1)).astype(np.uint8)
        scipy.io.savemat(path, {"ts": t.astype(np.int32), "x": x.astype(np.uint8), "y": y.astype(np.uint8), "pol": pol})
    layout = find_layout("asl-dvs", tmp_path)
    assert len(layout.classes) == 24
    assert [sample[:2] for sample in samples_of(layout)] == [("a/a_0001", 0), ("y/y_0001", 23)]
    events = build(layout, tmp_path).read(1)
    _read_mat_save_to_np(path, tmp_path / "theirs.npz")
    with np.load(tmp_path / "theirs.npz") as theirs:
        for name in "txyp":
            np.testing.assert_array_equal(getattr(events, name), theirs[name])
    scipy.io.savemat(path, {"ts": t, "x": x, "y": np.full_like(x, 180), "pol": x % 2})
    with pytest.raises(RecordingError, match=r"expected a pixel within 180x240 .* found row -1"):
        build(layout, tmp_path)


def test_one_split_is_taken_with_a_note_and_the_other_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for word in ("accused", "years"):
        events = np.zeros(4, [("t", "<i4"), ("x", "i1"), ("y", "i1"), ("p", "i1")])
        events["t"], events["x"], events["p"] = [1, 4, 4, 9], [127, 3, 2, 1], [1, 0, 1, 0]
        for number in range(3):
            (tmp_path / "DVS-Lip" / "train" / word).mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / "DVS-Lip" / "train" / word / f"{number}.npy", events)
    argv = ["preprocess", "dvs-lip", "--source", str(tmp_path), "--cache", str(tmp_path / "cache")]
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=argv) == 0
    assert "test" in " ".join(capsys.readouterr().out.split())
    store = open_events(tmp_path / "cache" / "dvs-lip" / "events.h5")
    assert (store.classes, store.height, store.width) == (("accused", "years"), 128, 128)
    assert store.read(4).x.tolist() == [127, 3, 2, 1]
    with pytest.raises(ConfigError, match=r"expected a test split, found only the 6 samples of the official training"):
        split_samples(store.samples, "dvs-lip", "official", 0.1, "last", store.classes)


@pytest.mark.real
def test_pokers_two_forms_are_real(real_data: Path, tmp_path: Path):
    tonics = find_layout("poker-dvs", real_data / "poker-dvs")
    assert (tonics.name, tonics.height, tonics.width) == ("poker-dvs", 35, 35)
    store = build(tonics, tmp_path)
    assert store.classes == ("club", "heart", "diamond", "spade")
    assert (
        np.bincount(store.samples.split).tolist() == [48, 20] and np.bincount(store.samples.label).tolist() == [17] * 4
    )
    number = store.samples.name.tolist().index("pips_test/sp/1")
    expected = np.load(real_data / "poker-dvs" / "pips_test" / "sp" / "1.npy").astype(np.int64)
    events = store.read(number)
    np.testing.assert_array_equal(np.stack([events.t, events.x, events.y, events.p], 1), expected)
    cuts = find_layout("poker-dvs", real_data / "poker-dvs" / "poker_dvs")
    assert cuts.name == "poker-dvs-131"
    store = build(cuts, tmp_path)
    assert np.bincount(store.samples.label).tolist() == [30, 23, 43, 35] and not np.any(store.samples.split != NO_SPLIT)


def test_pokers_other_names_are_refused(tmp_path: Path):
    for name in ("xclub01", "xclub02i", "xqueen01"):
        put(tmp_path / f"{name}.aedat", aedat2([(3 << 8 | 1, 5)]))
    (line,) = refusals("poker-dvs", tmp_path)
    assert line.endswith("xqueen01.aedat: expected xSUITnn.aedat, found another name. Move the file elsewhere.")


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    words = [(y << 8 | 1, 10 + k // 2) for k, y in enumerate(range(60))]
    for name in ("user01_indoor", "user02_dc"):
        put(tmp_path / "allusers_aedat" / f"{name}.aedat", aedat2(words))
        text = "class,startTime_ev,endTime_ev\n19,3,8\n1,8,30\n1,29,60\n"
        put(tmp_path / "tags_updated_19_08_2020" / f"{name}.csv", text.encode())
    return tmp_path


def test_tags_of_animals_count_events(animals: Path):
    layout = find_layout("sl-animals", animals)
    assert samples_of(layout)[:3] == [
        ("user01_indoor/19_0", 18, NO_SPLIT, 0, "user01"),
        ("user01_indoor/1_0", 0, NO_SPLIT, 0, "user01"),
        ("user01_indoor/1_1", 0, NO_SPLIT, 1, "user01"),
    ]
    store = build(layout, animals)
    times = np.array([10 + k // 2 for k in range(60)])
    for i, (first, end) in enumerate([(3, 8), (8, 30), (29, 60)] * 2):
        # Events of one time are on both sides of a border, which only their numbers tell apart.
        assert store.read(i).t.tolist() == times[first:end].tolist()
        assert store.samples.interval_us[i].tolist() == [times[first], times[end - 1] + 1]


def test_events_of_animals_are_counted_across_chunks(animals: Path, monkeypatch: pytest.MonkeyPatch):
    from preprocess.formats import recording

    whole = build(find_layout("sl-animals", animals), animals)
    monkeypatch.setattr(recording, "BLOCK_BYTES", 56)
    cut = build(dataclasses.replace(find_layout("sl-animals", animals), name="cut"), animals)
    for i in range(6):
        assert cut.read(i).t.tolist() == whole.read(i).t.tolist()


def test_faults_of_animals(animals: Path):
    tags = animals / "tags_updated_19_08_2020"
    (tags / "user01_indoor.csv").write_text("class,startTime_ev,endTime_ev\n20,1,2\n1,5,5\n1,a,2\n")
    (tags / "user02_dc.csv").write_text("class;start\n")
    lines = refusals("sl-animals", animals)
    assert [line.split(": ", 1)[1].split(". ")[0] for line in lines] == [
        "line 2: expected a class from 1 to 19, found 20",
        "line 3: expected a range of event numbers that ends after its start, found [5, 5)",
        "line 4: expected three whole numbers (class,startTime_ev,endTime_ev), found '1,a,2'",
        "line 1: expected class,startTime_ev,endTime_ev, found 'class;start'",
    ]
    for name in ("user01_indoor", "user02_dc"):
        (tags / f"{name}.csv").write_text("class,startTime_ev,endTime_ev\n1,70,80\n")
    with pytest.raises(RecordingError, match=r"expected at least one event with a number in \[70, 80\], found none"):
        build(find_layout("sl-animals", animals), animals)
    shutil.rmtree(tags)
    (line,) = refusals("sl-animals", animals)
    assert "expected the folder tags_updated_19_08_2020" in line


def test_samples_given_by_time_have_the_fingerprints_of_earlier_versions(animals: Path):
    (recording, _) = find_layout("sl-animals", animals).recordings
    sample = Sample(1, 0, 2, "group", "name", 5, None)
    described = source_fingerprint.describe_recording(dataclasses.replace(recording, samples=(sample,)))
    assert described == ["allusers_aedat/user01_indoor.aedat", [(1, 0, 2, "group", "name", 5, None)]]
