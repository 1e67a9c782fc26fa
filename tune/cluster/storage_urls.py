"""Large files in a storage such as s3://bucket/path, written atomically."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preprocess.errors import RunError
from preprocess.files import write_whole
from tune.cluster.head_node import ClusterError

_BLOCK = 8 * 2**20


def open_storage(url: str) -> tuple[Any, str]:
    """The Arrow file system and path of a storage; ClusterError if Arrow does not support it."""
    import pyarrow as pa
    from pyarrow import fs

    try:
        if "://" not in url:
            return fs.LocalFileSystem(), str(Path(url).expanduser().absolute())
        system, path = fs.FileSystem.from_uri(url)
        return system, str(path).rstrip("/")
    except (pa.ArrowException, OSError, ValueError) as error:
        cause = " ".join(str(error).split())[:200]
        raise ClusterError(
            f"--storage {url}: expected a path or a URL such as s3://bucket/path, found: {cause}"
        ) from None


def store_large(url: str, name: str, path: Path) -> None:
    """Copy a file to a storage, atomically."""
    with _named(url, name):
        system, root = open_storage(url)
        target = f"{root}/{name}"
        system.create_dir(target.rpartition("/")[0], recursive=True)
        # Object stores show only complete files; other file systems need a temporary name until then.
        with path.open("rb") as source, system.open_output_stream(f"{target}.part") as stream:
            shutil.copyfileobj(source, stream, _BLOCK)
        system.move(f"{target}.part", target)


def fetch_large(url: str, name: str, path: Path) -> bool:
    """Copy a file from a storage; False if it does not exist."""
    from pyarrow import fs

    with _named(url, name):
        system, root = open_storage(url)
        target = f"{root}/{name}"
        if system.get_file_info(target).type != fs.FileType.File:
            return False

        def fill(temporary: Path) -> None:
            with system.open_input_stream(target) as stream, temporary.open("wb") as file:
                shutil.copyfileobj(stream, file, _BLOCK)

        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, fill)
        return True


@contextlib.contextmanager
def _named(url: str, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cause = " ".join(str(error).split())[:200]
        raise RunError(f"{url}/{name}: cannot be accessed ({cause}). Check the storage, then resume.") from None
