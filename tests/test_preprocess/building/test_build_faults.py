"""What happens around a build: kills, two builders, full and read-only disks, file systems without locks, tampering."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from patience import PATIENCE_S
from tiny_layout import TinyLayout, random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_every_frames, ensure_frames
from preprocess.errors import CacheError
from preprocess.inspection.verify import verify_cache
from preprocess.store.cache_file_names import frame_cache_name
from preprocess.store.frame_cache import open_frames

TESTS = Path(__file__).resolve().parent.parent.parent

BINNINGS = [Binning(4), Binning(6), Binning(3, "time")]

# A builder in a process of its own; binning takes its time, so that kills hit frame caches half-written.
BUILDER = """
import pickle, sys, time
from pathlib import Path
from preprocess.building import build_frame_cache as build_frames
from preprocess.building.build_event_store import build_event_store, ensure_every_frames
if __name__ == "__main__":
    layout, binnings, delay_s, workers = pickle.loads(Path(sys.argv[1]).read_bytes())
    plain = build_frames.bin_samples
    build_frames.bin_samples = lambda *words: (time.sleep(delay_s), plain(*words))[1]
    build_frames._EVENTS_AT_ONCE = 1
    print("ready", flush=True)
    build_event_store(layout, Path(sys.argv[2]), workers=workers)
    ensure_every_frames(Path(sys.argv[2]), layout.name, binnings, workers=workers)
"""


def start_builder(layout: TinyLayout, cache: Path, *, delay_s: float = 0.0, workers: int = 1) -> subprocess.Popen[str]:
    script, pickled = cache.parent / "builder.py", cache.parent / "job.pickle"
    script.write_text(BUILDER)
    pickled.write_bytes(pickle.dumps((layout, BINNINGS, delay_s, workers)))
    words = [sys.executable, str(script), str(pickled), str(cache)]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=os.environ | {"PYTHONPATH": path}, stdout=pipe, stderr=pipe, text=True)


def files(folder: Path) -> set[str]:
    """Names in a cache folder, but for the lock."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name for name in found if name != ".lock"}


def build(layout: TinyLayout, cache: Path) -> dict[str, bytes]:
    """Every file of a cache, by its name."""
    build_event_store(layout, cache)
    ensure_every_frames(cache, layout.name, BINNINGS)
    return {name: (cache / layout.name / name).read_bytes() for name in files(cache / layout.name)}


@pytest.fixture
def layout(tmp_path: Path) -> TinyLayout:
    return tiny_layout(tmp_path / "src", [random_events(i, 300 + i) for i in range(20)])


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many kilobytes; skips where nobody lets us."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(kilobytes: int) -> Path:
        words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk takes root and the right to mount")
        return folder

    yield mount
    while os.path.ismount(folder):
        subprocess.run(["umount", str(folder)], check=True)


def test_kills_while_frames_are_made_leave_them_whole_or_absent(tmp_path: Path, layout: TinyLayout, share_of):
    expected = build(layout, tmp_path / "reference")
    rng = np.random.default_rng(3)
    for k in range(share_of(30)):
        cache = tmp_path / f"cache{k}"
        build_event_store(layout, cache)
        builder = start_builder(layout, cache, delay_s=0.01)
        assert builder.stdout is not None and builder.stdout.readline() == "ready\n"
        # Sixty binnings of 10 ms each, and what loading the kernels takes.
        time.sleep(rng.uniform(0.0, 1.0))
        builder.kill()
        builder.communicate()
        for name in files(cache / "tiny"):
            if not Path(name).name.startswith("."):
                assert (cache / "tiny" / name).read_bytes() == expected[name]
        assert build(layout, cache) == expected


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_two_builders_at_once_make_the_bytes_of_one(tmp_path: Path, layout: TinyLayout, workers: int):
    expected = build(layout, tmp_path / "reference")
    builders = [start_builder(layout, tmp_path / "cache", delay_s=0.002, workers=workers) for _ in range(2)]
    told = [builder.communicate(timeout=PATIENCE_S)[1] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    # The one that comes second may wait, and says so; neither says anything else.
    assert all("waiting for another process" in line for text in told for line in text.splitlines())
    assert {
        name: (tmp_path / "cache" / "tiny" / name).read_bytes() for name in files(tmp_path / "cache/tiny")
    } == expected


@pytest.mark.parametrize("kilobytes", [64, 200, 300, 500])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, mounted, capfd, kilobytes: int):
    layout = tiny_layout(tmp_path / "src", [random_events(i, 3000) for i in range(16)])
    disk = mounted(kilobytes)

    def fill() -> None:
        build_event_store(layout, disk / "cache")
        ensure_every_frames(disk / "cache", "tiny", [Binning(t, "time") for t in range(20, 60)])

    with pytest.raises(CacheError, match=r"cannot be written .*No space left on device.*heck the free space") as error:
        fill()
    assert len(error.value.errors) == 1 and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""
    left = files(disk / "cache" / "tiny")
    assert not [name for name in left if name.endswith(".tmp")]
    for name in left:
        if name == "events.h5" or name.startswith("frames/"):
            assert verify_cache(disk / "cache")  # readable: nothing of it is cut off
    # What is decoded is kept, and a larger disk finishes it.
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    # Of the frames above, those that fitted may be complete.
    assert build(layout, disk / "cache").items() >= build(layout, tmp_path / "reference").items()


def test_a_full_disk_stops_the_command_with_one_line(tmp_path: Path, mounted):
    tiny = tmp_path / "src" / "a"
    tiny.mkdir(parents=True)
    for i in range(8):
        np.save(tiny / f"{i}.npy", np.stack([np.arange(9000), *np.random.default_rng(i).integers(0, 2, (3, 9000))], 1))
    disk = mounted(100)
    words = ["folder", "--name", "x", "--source", tiny.parent, "--cache", disk / "cache", "--sensor-size", 2, 2]
    words += ["--columns", "txyp"]
    command = [sys.executable, "-m", "preprocess", "preprocess", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent, check=False)
    errors = [line for line in ended.stderr.splitlines() if "No space left on device" in line]
    assert ended.returncode == 2
    assert len(errors) == 1 and ended.stderr.endswith(errors[0] + "\n")
    assert "Traceback" not in ended.stderr


def test_whole_caches_on_a_read_only_disk_are_used_and_frames_go_to_the_users_own_folder(
    tmp_path: Path, layout: TinyLayout, mounted, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SPIKELOOM_CACHE_FRAMES", str(tmp_path / "own"))
    disk = mounted(65536)
    expected = build(layout, disk / "cache")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert build(layout, disk / "cache") == expected
    assert ensure_frames(disk / "cache", "tiny", Binning(7)).is_relative_to(tmp_path / "own")
    message = r"other/tiny: expected a folder that can be written .*Read-only.* Choose another --cache"
    with pytest.raises(CacheError, match=message):
        build_event_store(layout, disk / "other")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_locks_is_one_line(tmp_path: Path, layout: TinyLayout, monkeypatch, code: int):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(CacheError, match=r"tiny: expected a folder that can be written and locked, found: .* --cache"):
        build_event_store(layout, tmp_path / "cache")
    assert files(tmp_path / "cache" / "tiny") == set()


def relabel(file: h5py.File) -> None:
    file["samples/label"][0] = 1 - file["samples/label"][0]


def claim_another_rule(file: h5py.File) -> None:
    file.attrs["split_by"] = "time"


def claim_another_store(file: h5py.File) -> None:
    file.attrs["fingerprint"] = "0" * 32


def drop_a_sample(file: h5py.File) -> None:
    kept = file["frames"][1:]
    del file["frames"]
    file["frames"] = kept


@pytest.mark.parametrize("tamper", [relabel, claim_another_rule, claim_another_store, drop_a_sample])
def test_a_frame_cache_tampered_with_is_refused_and_made_again(tmp_path: Path, layout: TinyLayout, tamper):
    expected = build(layout, tmp_path / "cache")
    name = f"frames/{frame_cache_name(BINNINGS[0], 8, 10)}.h5"
    path = tmp_path / "cache" / "tiny" / name
    with h5py.File(path, "r+") as file:
        tamper(file)
    with pytest.raises(
        CacheError,
        match=f"{path}: .*Delete the file; spikeloom preprocess, train and tune rebuild it from the event store",
    ):
        open_frames(path)
    assert build(layout, tmp_path / "cache") == expected


def test_a_part_with_a_flipped_byte_is_not_merged(tmp_path: Path, layout: TinyLayout, monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("preprocess.building.build_event_store.merge_parts", stop)
        with pytest.raises(KeyboardInterrupt):
            build_event_store(layout, tmp_path / "cache")
    (part,) = (tmp_path / "cache" / "tiny" / ".parts").iterdir()
    with h5py.File(part, "r+") as file:
        file["address"][1000] ^= 1
    with pytest.raises(
        CacheError, match=r"events \d+ to \d+ do not match their checksum\). It was deleted. Run the same"
    ):
        build_event_store(layout, tmp_path / "cache")
    assert build(layout, tmp_path / "cache") == build(layout, tmp_path / "reference")
