"""Downloading the published data sets: addresses and checksums of tonic and torchvision, and tonic's download code.

A complete file is not downloaded again, and an incomplete one is removed, so that the same command resumes with the
file at which it stopped. Each data set names the class that has its addresses; the raw DVS128-Gesture cannot be
downloaded by a program (`preprocess.datasets.dvs_gesture`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from preprocess.datasets.archives import Notify
from preprocess.datasets.registry import DOWNLOADS
from preprocess.errors import LayoutError


@dataclass(frozen=True)
class Remote:
    """A published file.

    Attributes:
        url: Address.
        name: Local file name, under which `preprocess` unpacks it.
        md5: MD5 checksum of the content, hexadecimal.
    """

    url: str
    name: str
    md5: str


def list_remotes(dataset: str) -> tuple[Remote, ...]:
    """The files of a data set according to tonic or torchvision, which are loaded, and torch with them."""
    module, _, kind = DOWNLOADS[dataset].partition(":")
    if kind.startswith("//"):
        url, _, md5 = DOWNLOADS[dataset].partition("#md5=")
        return (Remote(url, url.rpartition("/")[2], md5),)
    t = getattr(import_module(module), kind)
    if hasattr(t, "tgz_md5"):
        return (Remote(t.url, t.filename, t.tgz_md5),)
    if hasattr(t, "train_zip"):
        return (
            Remote(t.base_url + t.train_zip, t.train_zip, t.train_md5),
            Remote(t.base_url + t.test_zip, t.test_zip, t.test_md5),
        )
    if not hasattr(t, "train_url"):
        return (Remote(t.url, t.filename, t.file_md5),)
    return (
        Remote(t.train_url, t.train_filename, t.train_md5),
        Remote(t.test_url, t.test_filename, t.test_md5),
    )


def download(dataset: str, out: Path, *, notify: Notify) -> list[Path]:
    """Fetch a data set's archives into a folder, in the form that `preprocess` reads.

    Args:
        dataset: A key of DOWNLOADS; for dvs-gesture tonic's version, cut into samples, with times in whole ms.
        out: The folder.
        notify: Called with messages about the progress.

    Raises:
        LayoutError: If files could not be downloaded, with the manual steps for each; the others are downloaded.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LayoutError(f"{out}: cannot be written ({error.strerror}). Give another --out.") from None
    paths, errors = [], []
    for remote in list_remotes(dataset):
        path = out / remote.name
        if path.is_file() and _is_intact(path, remote):
            notify(f"{path}: already complete")
        else:
            notify(f"{remote.url}: downloading to {path}")
            message = _fetch(remote, path)
            if message:
                errors.append(message)
                continue
        paths.append(path)
    if errors:
        raise LayoutError(*errors)
    return paths


def _fetch(remote: Remote, path: Path) -> str | None:
    """Download one file under a temporary name; returns the manual steps if that fails."""
    from tonic.download_utils import download_url

    temporary = path.with_name(f".{path.name}.download")
    try:
        # tonic prints on stdout, which is reserved for the result.
        with contextlib.redirect_stdout(io.StringIO()):
            download_url(remote.url, str(path.parent), temporary.name)
        if not _is_intact(temporary, remote):
            found = f"{temporary.stat().st_size:,} bytes with another MD5 checksum, as after an interrupted transfer"
            return _by_hand(remote, path, found)
        temporary.replace(path)
    except Exception as error:  # urllib, http and tonic raise many kinds
        return _by_hand(remote, path, " ".join(str(error).split()) or type(error).__name__)
    finally:
        temporary.unlink(missing_ok=True)
    return None


def _is_intact(path: Path, remote: Remote) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == remote.md5


def _by_hand(remote: Remote, path: Path, found: str) -> str:
    return (
        f"{remote.url}: expected the archive {remote.name}, found {found.rstrip('.')}. Run the same command again, or "
        f"download it with a browser, save it as {path} (MD5 {remote.md5}), and continue with preprocess."
    )
