"""Frames of SpikingJelly, torch.save and tonic become a frame cache that says what is not known of them."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_layout import random_events

from preprocess import import_frames, open_frames
from preprocess.binning.binning_config import Binning
from preprocess.building.build_frame_cache import ensure_frames
from preprocess.cli import COMMANDS
from preprocess.errors import CacheError, CacheMismatchError, ConfigError, LayoutError, RecordingError
from preprocess.frame_import.frame_file import read_frame_file
from preprocess.inspection.verify import verify_cache
from preprocess.store.frame_source import EventFrames
from preprocess.terminal.command_line import run_main

CLASSES = ("b", "a")


def frames_of(k: int, steps: int = 4, largest: int = 5) -> NDArray[np.float64]:
    """Counts of sample k, float64 (T, 2, 6, 8), as SpikingJelly saves them."""
    return np.random.default_rng(k).integers(0, largest + 1, (steps, 2, 6, 8)).astype(np.float64)


def spikingjelly(folder: Path, lengths: tuple[int, ...] = (4,), splits: tuple[str, ...] = ("train", "test")) -> Path:
    for split in splits:
        for k in range(6):
            path = folder / split / CLASSES[k % 2] / f"user0{k}_led_{k}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            seed = k + 10 * (split == "test")
            np.savez_compressed(path, frames=frames_of(seed, lengths[k % len(lengths)]))
    return folder


def torch_pairs(folder: Path, change: Callable[[Any], Any] = lambda frames: frames) -> Path:
    for split, count in (("train", 12), ("test", 3)):
        (folder / split).mkdir(parents=True)
        for k in range(count):
            frames = torch.tensor(change(frames_of(k)), dtype=torch.float32)
            torch.save([frames, torch.Tensor([k % 3])], folder / split / f"{k}.pt")
    return folder


def tonic_folder(folder: Path, copies: int = 1) -> Path:
    from tonic import DiskCachedDataset

    for split, count in (("train", 12), ("test", 3)):
        data = [(frames_of(k).astype(np.int16), k % 3) for k in range(count)]
        cached = DiskCachedDataset(data, cache_path=str(folder / split), num_copies=copies)
        for _ in range(1 if copies == 1 else 30):
            for k in range(count):
                cached[k]
    return folder


def run(*argv: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[str(word) for word in argv])


def test_spikingjellys_folder_becomes_a_cache(tmp_path: Path):
    source = spikingjelly(tmp_path / "DVS" / "frames_number_4_split_by_number")
    # Its events are beside its frames, and are not read.
    events = random_events(1, 30)
    (tmp_path / "DVS" / "events_np" / "train" / "a").mkdir(parents=True)
    np.savez(tmp_path / "DVS/events_np/train/a/0.npz", t=events.t, x=events.x, y=events.y, p=events.p)
    found = import_frames(tmp_path / "DVS", "own", tmp_path / "cache", workers=2)
    frames = open_frames(found.path)
    assert found.built and found.notes == ()
    assert frames.classes == ("a", "b") and frames.binning == Binning(4, "imported")
    assert (frames.sample_shape, frames.dtype) == ((4, 2, 6, 8), np.dtype(np.uint8))
    assert frames.samples.split.tolist() == [0] * 6 + [1] * 6
    assert frames.samples.index.tolist() == [0, 1, 2] * 4
    for i, name in enumerate(frames.samples.name):
        with np.load(source / f"{name}.npz") as file:
            expected = file["frames"]
        np.testing.assert_array_equal(frames.read(i), expected)
        assert frames.samples.events[i] == expected.sum()
        assert frames.classes[frames.samples.label[i]] == Path(name).parent.name
        assert frames.samples.group[i] == Path(name).name[:6]


def test_spikingjellys_own_writer_is_read(tmp_path: Path):
    from spikingjelly.datasets import utils

    events = random_events(3, 400, height=6, width=8)
    np.savez(tmp_path / "0.npz", t=events.t, x=events.x, y=events.y, p=events.p)
    out = tmp_path / "frames_number_5_split_by_time" / "7"
    out.mkdir(parents=True)
    utils.integrate_events_file_to_frames_file_by_fixed_frames_number(
        np.load, str(tmp_path / "0.npz"), str(out), "time", 5, 6, 8
    )
    frames = open_frames(import_frames(out.parent, "own", tmp_path / "cache").path)
    with np.load(out / "0.npz") as file:
        np.testing.assert_array_equal(frames.read(0), file["frames"])
    assert frames.classes == ("7",) and frames.samples.split.tolist() == [255]


@pytest.mark.parametrize("make", [torch_pairs, tonic_folder])
def test_files_with_class_numbers_keep_their_order(make: Callable[[Path], Path], tmp_path: Path):
    found = import_frames(make(tmp_path / "src"), "own", tmp_path / "cache")
    frames = open_frames(found.path)
    assert frames.classes == ("0", "1", "2") and frames.samples.split.tolist() == [0] * 12 + [1] * 3
    assert frames.samples.label.tolist() == [k % 3 for k in range(12)] + [0, 1, 2]
    for i in range(15):
        np.testing.assert_array_equal(frames.read(i), frames_of(i if i < 12 else i - 12))
    assert verify_cache(tmp_path / "cache")[0].errors == ()


def test_values_that_are_not_counts_stay_values(tmp_path: Path):
    """TET's frames are sums of times, divided by the largest of the frame."""
    source = torch_pairs(tmp_path / "src", lambda frames: frames / frames.max((1, 2, 3), keepdims=True))
    frames = open_frames(import_frames(source, "own", tmp_path / "cache").path)
    expected = torch.load(source / "train" / "7.pt", weights_only=True)[0].numpy()
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames.read(7), expected)
    assert frames.samples.events[7] == np.count_nonzero(expected)
    assert [result.errors for result in verify_cache(tmp_path / "cache" / "own")] == [(), ()]


def test_augmented_copies_and_empty_samples_are_left_out_with_a_count(tmp_path: Path):
    source = tonic_folder(tmp_path / "src", copies=2)
    found = import_frames(source, "own", tmp_path / "cache")
    assert len(open_frames(found.path)) == 15
    assert found.notes == ("15 further copies of samples, which tonic augmented, were left out",)
    other = spikingjelly(tmp_path / "other")
    np.savez(other / "train" / "a" / "zero.npz", frames=np.zeros((4, 2, 6, 8)))
    found = import_frames(other, "other", tmp_path / "cache")
    assert len(open_frames(found.path)) == 12
    assert found.notes == ("1 samples whose frames are all zero were left out",)
    assert not import_frames(other, "other", tmp_path / "cache").built


def test_t_may_vary(tmp_path: Path):
    found = import_frames(spikingjelly(tmp_path / "src", (3, 7)), "own", tmp_path / "cache")
    frames = open_frames(found.path)
    assert frames.binning == Binning(split_by="imported_varying") and frames.timesteps == 7
    assert frames.lengths.tolist() == [7] * 3 + [3] * 3 + [7] * 3 + [3] * 3
    assert not frames.read(3)[3:].any() and frames.read(3)[:3].any()


@pytest.mark.parametrize(("axes", "order"), [("ptyx", (1, 0, 2, 3)), ("pyxt", (1, 2, 3, 0)), ("tyxp", (0, 2, 3, 1))])
def test_other_axes_are_asked_for(axes: str, order: tuple[int, ...], tmp_path: Path):
    source = torch_pairs(tmp_path / "src", lambda frames: frames.transpose(order))
    with pytest.raises(RecordingError, match=r"expected frames \(T, 2, H, W\), found shape .*--axes ptyx or pyxt"):
        import_frames(source, "own", tmp_path / "cache")
    frames = open_frames(import_frames(source, "own", tmp_path / "cache", axes=axes).path)
    np.testing.assert_array_equal(frames.read(5), frames_of(5))
    with pytest.raises(RecordingError, match="expected two polarities"):
        import_frames(source, "own", tmp_path / "cache", axes="tpyx")
    with pytest.raises(ConfigError, match="--axes: expected an order of the letters tpyx, such as pyxt, found 'xy'"):
        import_frames(source, "own", tmp_path / "cache", axes="xy")


def test_sizes_of_cameras_on_their_side_are_turned_with_a_note(tmp_path: Path):
    (tmp_path / "src" / "0").mkdir(parents=True)
    turned = np.zeros((2, 2, 346, 260), np.uint8)
    turned[1, 1, 300, 20] = 3
    np.savez_compressed(tmp_path / "src" / "0" / "a.npz", frames=turned)
    found = import_frames(tmp_path / "src", "own", tmp_path / "cache")
    assert open_frames(found.path).read(0)[1, 1, 20, 300] == 3
    assert "346 x 260 pixels were read as columns x rows of a DAVIS346" in found.notes[0]
    kept = import_frames(tmp_path / "src", "own", tmp_path / "cache", axes="tpyx")
    assert kept.built and kept.notes == () and open_frames(kept.path).read(0)[1, 1, 300, 20] == 3


@pytest.mark.real
def test_a_labs_frames_are_imported(real_data: Path, tmp_path: Path):
    source = tmp_path / "davis346-letters"
    for path in sorted((real_data / "davis346-letters" / "duration_1000").glob("*/[01]/*.npz")):
        copy = source / path.relative_to(real_data / "davis346-letters")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    found = import_frames(source, "letters", tmp_path / "cache", workers=2)
    frames = open_frames(found.path)
    assert frames.sample_shape[1:] == (2, 260, 346) and frames.classes == ("0", "1") and frames.binning.varies
    with np.load(source / "duration_1000" / f"{frames.samples.name[3]}.npz") as file:
        np.testing.assert_array_equal(frames.read(3)[: frames.lengths[3]], file["frames"].transpose(0, 1, 3, 2))


def test_what_has_not_changed_is_reused_and_what_has_is_read_again(tmp_path: Path):
    source = spikingjelly(tmp_path / "src")
    first = import_frames(source, "own", tmp_path / "cache")
    state = first.path.stat().st_mtime_ns, open_frames(first.path).fingerprint
    assert not import_frames(source, "own", tmp_path / "cache").built
    assert first.path.stat().st_mtime_ns == state[0]
    np.savez_compressed(source / "train" / "a" / "user01_led_1.npz", frames=frames_of(99))
    second = import_frames(source, "own", tmp_path / "cache")
    assert second.built and open_frames(second.path).fingerprint != state[1]
    spikingjelly(source, (9,))
    third = import_frames(source, "own", tmp_path / "cache")
    assert third.path.name == "imported-T9-6x8.h5" and not second.path.exists()


def test_another_binning_is_refused_in_a_line(tmp_path: Path):
    import_frames(spikingjelly(tmp_path / "src"), "own", tmp_path / "cache")
    assert ensure_frames(tmp_path / "cache", "own", Binning(4, "imported")).is_file()
    for binning, found in ((Binning(4), "split_by number"), (Binning(8, "imported"), "timesteps 8")):
        with pytest.raises(ConfigError) as refused:
            ensure_frames(tmp_path / "cache", "own", binning)
        assert refused.value.errors == (
            "binning: expected --binning.split-by imported --binning.downsample 1 --binning.timesteps 4, because the "
            f"frames of own were imported and cannot be binned again, found {found}. Set these options; for another T, "
            "import other frames under another name.",
        )
    from tiny_layout import tiny_layout

    from preprocess.building.build_event_store import build_event_store
    from preprocess.store.event_store import open_events

    store = build_event_store(tiny_layout(tmp_path / "events", [random_events(1, 50)]), tmp_path / "cache")
    with pytest.raises(ConfigError, match="expected a rule that bins events, because tiny has an event store"):
        ensure_frames(tmp_path / "cache", "tiny", Binning(4, "imported"))
    with pytest.raises(ConfigError, match="how imported frames were binned is not known"):
        EventFrames(open_events(store), Binning(4, "imported"))
    with pytest.raises(CacheMismatchError, match=r"expected no event store, found one\. Give another --name"):
        import_frames(tmp_path / "src", "tiny", tmp_path / "cache")


def test_every_fault_is_a_line(tmp_path: Path):
    source = spikingjelly(tmp_path / "src")
    place = source / "train" / "a"
    np.savez(place / "nan.npz", frames=np.full((4, 2, 6, 8), np.nan))
    np.savez(place / "wide.npz", frames=np.ones((4, 2, 6, 9)))
    np.savez(place / "flat.npz", frames=np.ones((2, 6, 8)))
    np.savez(place / "text.npz", frames=np.full((4, 2, 6, 8), "a"))
    np.savez(place / "other.npz", images=np.ones((4, 2, 6, 8)))
    (place / "cut.npz").write_bytes((place / "wide.npz").read_bytes()[:300])
    with zipfile.ZipFile(place / "claims.npz", "w") as archive, archive.open("frames.npy", "w") as file:
        about = {"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 2, 1 << 12, 1 << 12)}
        np.lib.format.write_array_header_1_0(file, about)
    with pytest.raises(RecordingError) as refused:
        import_frames(source, "own", tmp_path / "cache")
    lines = {Path(line.split(": ")[0]).stem: line for line in refused.value.errors}
    assert len(refused.value.errors) == len(lines) == 7
    assert "expected finite values" in lines["nan"] and "expected 6x8 pixels" in lines["wide"]
    assert "found an array of shape (2, 6, 8)" in lines["flat"] and "expected frames of numbers" in lines["text"]
    assert "expected an array 'frames'" in lines["other"] and "cannot be read" in lines["cut"]
    # Before memory for it is allocated.
    assert "cannot be read (an array of shape (1048576, 2, 4096, 4096) and type float64)" in lines["claims"]


def test_folders_without_frames_or_with_two_sets_are_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="expected frames of samples"):
        import_frames(tmp_path / "empty", "own", tmp_path / "cache")
    for steps in (4, 8):
        spikingjelly(tmp_path / "two" / f"frames_number_{steps}_split_by_number", (steps,))
    with pytest.raises(LayoutError, match=r"found 2 folders with them: .*frames_number_4.*Give one of them"):
        import_frames(tmp_path / "two", "own", tmp_path / "cache")


def test_cached_events_and_wrong_targets_are_refused(tmp_path: Path):
    source = tonic_folder(tmp_path / "src")
    with h5py.File(source / "train" / "3_0.hdf5", "w") as file:
        file["data/0"] = np.zeros(5, [("t", int), ("x", int), ("y", int), ("p", int)])
        file["target/0"] = 1
    with h5py.File(source / "train" / "4_0.hdf5", "w") as file:
        file["data/0"], file["target/0"] = frames_of(1), [1, 2, 3]
    torch_pairs(tmp_path / "pt")
    torch.save([torch.ones(4, 2, 6, 8), torch.Tensor(3)], tmp_path / "pt" / "test" / "1.pt")
    with pytest.raises(RecordingError) as refused:
        import_frames(source, "own", tmp_path / "cache")
    events, targets = refused.value.errors
    assert "found events with the fields t, x, y, p" in events and "expected one class number from 0" in targets
    with pytest.raises(RecordingError, match="expected one class number from 0, found float32 of shape"):
        import_frames(tmp_path / "pt", "own", tmp_path / "cache")


@pytest.mark.parametrize("name", ["data", "target"])
def test_an_array_in_the_place_of_a_group_is_refused_at_once(tmp_path: Path, name: str):
    source = tonic_folder(tmp_path / "src")
    with h5py.File(source / "train" / "3_0.hdf5", "w") as file:
        file["data/0"], file["target/0"] = frames_of(1), 1
        del file[name]
        # Too many rows to iterate over.
        file.create_dataset(name, (1 << 40,), np.uint8, chunks=(1024,))
    with pytest.raises(RecordingError, match="expected the groups data and target, found an array"):
        import_frames(source, "own", tmp_path / "cache")


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
def test_mutated_files_are_read_or_refused_in_a_line(suffix: str, tmp_path: Path, share_of: Callable[[int], int]):
    from tonic.cached_dataset import save_to_disk_cache

    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, frames=frames_of(1))
    else:
        save_to_disk_cache(frames_of(1).astype(np.int16), 3, path)
    whole, draw, refused = path.read_bytes(), random.Random(3), 0
    for _ in range(share_of(5_000)):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(content))
            if draw.random() < 0.1:
                content = content[: max(1, at)]
            elif draw.random() < 0.5:
                content[at] ^= 1 << draw.randrange(8)
            else:
                content[at : at + draw.randint(1, 8)] = draw.randbytes(draw.randint(1, 8))
        path.write_bytes(content)
        try:
            read_frame_file(path)
        except RecordingError as error:
            refused += len(error.errors)
    assert 5 < refused <= share_of(5_000)


def test_damage_is_found_by_verify(tmp_path: Path):
    source = spikingjelly(tmp_path / "src")
    path = import_frames(source, "own", tmp_path / "cache").path
    np.savez_compressed(source / "train" / "a" / "user01_led_1.npz", frames=frames_of(99))
    (source / "test" / "b" / "user00_led_0.npz").unlink()
    frames, files = verify_cache(tmp_path / "cache" / "own")
    assert frames.errors == () and files.note == "not verified: 1 of 12 recordings are missing"
    assert len(files.errors) == 1 and "user01_led_1.npz: differs from" in files.errors[0]
    with h5py.File(path, "r") as file:
        place = file["frames"].id.get_chunk_info(5).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 40] ^= 255
    path.write_bytes(content)
    (error,) = verify_cache(tmp_path / "cache")[0].errors
    assert "sample 5 ('train/b/user04_led_4') is damaged" in error and "preprocess frames --name own" in error
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(CacheError, match=r"Import the frames again: spikeloom preprocess frames --name own --source"):
        open_frames(path)


def test_the_command_says_what_it_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = spikingjelly(tmp_path / "src")
    argv = ("preprocess", "frames", "--name", "own", "--source", source, "--cache", tmp_path / "cache")
    assert run(*argv) == 0
    out = capsys.readouterr().out
    assert "12 samples: 6 train, 6 test; 2 classes" in out and "imported; binning not known" in out
    assert "--dataset.name own --dataset.split official --binning.split-by imported" in out
    assert run(*argv, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["built"], answer["timesteps"], answer["dtype"]) == (False, [4, 4], "uint8")
    assert run("inspect", answer["path"], "--plot", tmp_path / "a.png", "--animate", tmp_path / "a.gif") == 0
    assert "4 frames that were imported; how they were binned is not known" in capsys.readouterr().out
    assert run("verify", tmp_path / "cache") == 0
    assert "imported, binning not known" in " ".join(capsys.readouterr().out.split())
    assert run("preprocess", "--name", "own", "frames", "--source", source) == 2
    assert "expected it before all options" in capsys.readouterr().err
    assert run("preprocess", "frames", "--name", "a/b", "--source", source, "--workers", "0") == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
