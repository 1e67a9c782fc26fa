"""Targets for what describes a data set: archives, lists and labels, manifests, and files of images."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from image_files import write_cifar10
from PIL import Image
from raw_files import aedat2, aedat31

from preprocess.datasets.archives import unpack_archive
from preprocess.datasets.images.image_file import read_image
from preprocess.datasets.registry import find_image_layout, find_layout

from .mutators import edit_gzip, edit_zip, set_number
from .target import Target

_SIDE = 8


def folder_targets() -> Iterator[Target]:
    """A target for each kind of archive, index and image."""
    for end in (".tar", ".tar.gz", ".zip"):
        yield Target(
            f"archive{end.replace('.', '-')}",
            f"a{end}",
            partial(_archives, end),
            _unpack,
            mutators=(edit_zip,) if end == ".zip" else (edit_gzip, edit_tar) if end == ".tar.gz" else (edit_tar,),
            makes=("a",),
        )
    for name, (file, prepare, read) in _INDEXES.items():
        yield Target(
            name, file, partial(_index, file, prepare), read, prepare=prepare, mutators=(set_number, edit_words)
        )
    cifar = "cifar-10-batches-py"
    for name, file in (("cifar-batch", "data_batch_1"), ("cifar-names", "batches.meta")):
        yield Target(
            name, f"{cifar}/{file}", partial(_index, f"{cifar}/{file}", _cifar), _read_cifar, _cifar, (set_number,)
        )
    binary = "cifar-10-batches-bin/data_batch_1.bin"
    yield Target("cifar-binary", binary, partial(_index, binary, _cifar_binary), _read_cifar, _cifar_binary)
    for kind in ("JPEG", "PNG"):
        yield Target(f"image-{kind.lower()}", f"a.{kind.lower()}", partial(_images, kind), _read_image)


def _tar(members: dict[str, bytes], mode: str = "w", format: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode, format=format) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


_MEMBERS = {"a/x/0.bin": b"content " * 20, "a/y/1.bin": b"", f"a/{'long' * 40}/ä.txt": b"text"}


def _archives(end: str, folder: Path) -> Iterator[bytes]:
    if end == ".zip":
        for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            made = io.BytesIO()
            with zipfile.ZipFile(made, "w", kind) as archive:
                for name, content in _MEMBERS.items():
                    archive.writestr(zipfile.ZipInfo(name), content)
            yield made.getvalue()
        return
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        yield _tar(_MEMBERS, "w:gz" if end == ".tar.gz" else "w", format)


def _unpack(path: Path) -> None:
    folder = unpack_archive(path, None, lambda line: None)
    for inner in folder.rglob("*"):
        assert not inner.is_symlink() and folder.resolve() in inner.resolve().parents
        assert inner.is_dir() or inner.is_file()


def edit_tar(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Change the header of a member, or add one of another kind, whose checksum is right."""
    mode = "w:gz" if content[:2] == b"\x1f\x8b" else "w"
    try:
        with tarfile.open(fileobj=io.BytesIO(bytes(content))) as archive:
            members = [(info, archive.extractfile(info)) for info in archive.getmembers()]
            contents = [(info, b"" if file is None else file.read()) for info, file in members]
    except Exception:  # whatever a damaged archive makes tarfile raise
        return content
    if not contents:
        return content
    info, inner = contents[rng.integers(len(contents))]
    names = ("../x", "/x", "a/../../x", ".", "", "a\\b", "C:x", "x" * 300, "a", "a/x", "a/x/0.bin/y", "\ud800x", "n\nm")
    action = rng.integers(5)
    if action == 0:
        info.name = str(names[rng.integers(len(names))])
    elif action == 1:
        kinds = (
            tarfile.LNKTYPE,
            tarfile.SYMTYPE,
            tarfile.CHRTYPE,
            tarfile.FIFOTYPE,
            tarfile.DIRTYPE,
            tarfile.GNUTYPE_SPARSE,
        )
        info.type, info.linkname = kinds[rng.integers(len(kinds))], str(names[rng.integers(len(names))])
    elif action == 2:
        info.size = int(rng.choice([0, 1, 511, 512, 2**33, 2**62]))
    elif action == 3:
        info.pax_headers = {"path": str(names[rng.integers(len(names))]), "size": "-1", "mtime": "nan"}
    else:
        contents.append((info, inner))
    made = io.BytesIO()
    try:
        with tarfile.open(fileobj=made, mode=mode, errors="surrogateescape") as archive:  # type: ignore[call-overload]
            for each, stored in contents:
                archive.addfile(each)
                made.write(b"")
                if archive.fileobj is not None and stored:
                    archive.fileobj.write(stored + bytes(-len(stored) % 512))
    except Exception:  # a header that cannot be written
        return content
    return bytearray(made.getvalue())


def edit_words(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Change a field of a table, or repeat, remove or exchange a line."""
    lines = bytes(content).split(b"\n")
    k, other = rng.integers(len(lines), size=2)
    action = rng.integers(4)
    if action == 0:
        fields = lines[k].split(b",")
        odd = (b"", b'"', b"../x", b"/", b"\xff", "ä".encode(), b"x" * 200, b".", b"train", b"\0", b"\r", b" ")
        fields[rng.integers(len(fields))] = odd[rng.integers(len(odd))]
        lines[k] = b",".join(fields)
    elif action == 1:
        lines.insert(k, lines[other])
    elif action == 2:
        del lines[k]
    else:
        lines[k], lines[other] = lines[other], lines[k]
    return bytearray(b"\n".join(lines))


def _gestures(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("user01_led", "user24_led"):
        (folder / f"{name}.aedat").write_bytes(aedat31([]))
        (folder / f"{name}_labels.csv").write_text("class,startTime_usec,endTime_usec\n1,10,20\n11,30,400\n")
    (folder / "trials_to_train.txt").write_text("user01_led.aedat\n")
    (folder / "trials_to_test.txt").write_text("user24_led.aedat\n")


def _animals(folder: Path) -> None:
    for name, inner in (("a.aedat", "allusers_aedat"), ("a.csv", "tags_updated")):
        (folder / inner).mkdir(parents=True)
        content = aedat2([(0, 1)]) if inner.startswith("all") else b"class,startTime_ev,endTime_ev\n1,0,5\n19,5,9\n"
        (folder / inner / name).write_bytes(content)


def _manifest(folder: Path) -> None:
    (folder / "x").mkdir(parents=True)
    for name in ("a", "b"):
        (folder / "x" / f"{name}.aedat").write_bytes(aedat31([]))
    rows = "path,label,split,group,start_us,end_us\nx/a.aedat,cat,train,g,0,100\nx/b.aedat,dog,test,h,,\n"
    (folder / "manifest.csv").write_text(rows)


def _cifar(folder: Path) -> None:
    write_cifar10(folder, train=10, test=5)


def _cifar_binary(folder: Path) -> None:
    write_cifar10(folder, train=10, test=5, binary=True)


def _index(file: str, prepare: Callable[[Path], None], folder: Path) -> Iterator[bytes]:
    prepare(folder)
    yield (folder / file).read_bytes()


def _layout_of(dataset: str, path: Path) -> None:
    folder = path.parent.parent if dataset == "sl-animals" else path.parent
    layout = find_layout(dataset, folder, name="own" if dataset == "folder" else None)
    assert layout.recordings and layout.classes
    for recording in layout.recordings:
        assert recording.path.is_file() and folder in recording.path.parents
        assert recording.samples and all(0 <= sample.label < len(layout.classes) for sample in recording.samples)


def _read_cifar(path: Path) -> None:
    layout = find_image_layout("cifar10", path.parent)
    for file in layout.files:
        images = file.decode(file.path.read_bytes())
        assert images.pixels.shape == (len(images.labels), 3, layout.height, layout.width)
        assert images.pixels.dtype == np.uint8 and len(images.names) == len(images.labels)
        assert images.labels.min() >= 0 and images.labels.max() < len(layout.classes)


def _images(kind: str, folder: Path) -> Iterator[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3)).astype(np.uint8)
    pictures = [Image.fromarray(pixels).convert(mode) for mode in ("RGB", "L")]
    if kind == "PNG":
        pictures += [Image.fromarray(pixels).convert(mode) for mode in ("P", "1", "RGBA")]
        pictures.append(Image.fromarray(pixels[..., 0].astype(np.uint16) * 256))
    for picture in pictures:
        made = io.BytesIO()
        picture.save(made, kind)
        yield made.getvalue()


def _read_image(path: Path) -> None:
    image = read_image(path, _SIDE, _SIDE)
    assert image.shape == (3, _SIDE, _SIDE) and image.dtype == np.uint8


_INDEXES: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], None]]] = {
    "gesture-labels": ("user01_led_labels.csv", _gestures, partial(_layout_of, "dvs-gesture")),
    "gesture-lists": ("trials_to_train.txt", _gestures, partial(_layout_of, "dvs-gesture")),
    "animal-tags": ("tags_updated/a.csv", _animals, partial(_layout_of, "sl-animals")),
    "manifest": ("manifest.csv", _manifest, partial(_layout_of, "folder")),
}
"""The file, what writes its folder, and its reader, by the name of the target."""
