"""SL-Animals-DVS: signs of animals by 59 people before a DVS128, in four sets of recordings, without an official split.

    allusers_aedat/user01_indoor.aedat              AEDAT 2.0; the set is indoor, sunlight, imse or dc
    tags_updated_19_08_2020/user01_indoor.csv       class,startTime_ev,endTime_ev: numbers of events, classes 1 to 19

The tags count events, not time: a sample is every event from number startTime_ev to before endTime_ev. The split
``by-group`` keeps all samples of a person together; other splits do not.
Source: Vasudevan et al., SL-Animals-DVS: event-driven sign language animals dataset, Pattern Analysis and Applications,
2021, and http://www2.imse-cnm.csic.es/neuromorphs/index.php/SL-ANIMALS-DVS-Database
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.layout import Form, Layout, Sample, SourceRecording, files, folders, raise_all
from preprocess.errors import LayoutError
from preprocess.store.sample_table import NO_SPLIT

_RECORDINGS, _TAGS = "allusers_aedat", "tags"
_HEADER = "class,startTime_ev,endTime_ev"
_CLASSES = 19
_MOST_EVENTS = 1 << 40

# The files only number the signs.
CLASSES = tuple(map(str, range(1, _CLASSES + 1)))


def _tags_folder(folder: Path) -> Path | None:
    """The folder of the tags, whose name ends with the date of their revision; the latest in the order of names."""
    found = [inner for inner in folders(folder) if inner.name.startswith(_TAGS)]
    return found[-1] if found else None


def _fits(folder: Path, dataset: str) -> bool:
    return (folder / _RECORDINGS).is_dir()


def _read(folder: Path, dataset: str) -> Layout:
    errors: list[str] = []
    tags = _tags_folder(folder)
    if tags is None:
        raise LayoutError(f"{folder}: expected the folder tags_updated_19_08_2020, found none. Unpack it there.")
    counted: Counter[int] = Counter()
    recordings, tables = [], []
    for path in files(folder / _RECORDINGS, ".aedat"):
        table = tags / f"{path.stem}.csv"
        samples = _samples(path.stem, table, counted, errors)
        if samples:
            recordings.append(SourceRecording(path, f"{_RECORDINGS}/{path.name}", samples))
            tables.append(f"{tags.name}/{table.name}")
    if not recordings and not errors:
        errors.append(f"{folder / _RECORDINGS}: expected recordings (.aedat), found none. Unpack allusers_aedat.rar.")
    raise_all(folder, errors)
    return Layout(dataset, dataset, "aedat2", 128, 128, CLASSES, tuple(recordings), tables=tuple(tables))


def _samples(stem: str, table: Path, counted: Counter[int], errors: list[str]) -> tuple[Sample, ...]:
    """The samples of a recording; `counted` has the number of earlier samples of each class."""
    try:
        lines = table.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        errors.append(f"{table}: expected the tags of a recording, found none ({reason}). Copy it again.")
        return ()
    if not lines or lines[0].replace(" ", "").lower() != _HEADER.lower():
        found = f"'{lines[0][:60]}'" if lines else "an empty file"
        errors.append(f"{table}: line 1: expected {_HEADER}, found {found}. Copy the file again.")
        return ()
    within: Counter[int] = Counter()
    samples = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        tag = _parse_tag(line)
        if isinstance(tag, str):
            errors.append(f"{table}: line {number}: {tag}. Copy the file again, or correct the line.")
            continue
        label, first, end = tag
        name = f"{stem}/{label}_{within[label]}"
        user = stem.split("_")[0]
        samples.append(Sample(label - 1, NO_SPLIT, counted[label], user, name, numbers=(first, end)))
        within[label] += 1
        counted[label] += 1
    return tuple(samples)


def _parse_tag(line: str) -> tuple[int, int, int] | str:
    """Parse a line; returns class, first event and the one after the last, or an error."""
    try:
        label, first, end = (int(field) for field in line.split(","))
    except ValueError:
        return f"expected three whole numbers ({_HEADER}), found '{line[:60]}'"
    if not 1 <= label <= _CLASSES:
        return f"expected a class from 1 to {_CLASSES}, found {label}"
    if not 0 <= first < end < _MOST_EVENTS:
        return f"expected a range of event numbers that ends after its start, found [{first}, {end})"
    return label, first, end


DATASET = Dataset(
    "sl-animals",
    (Form("AEDAT 2.0 and tags", "the folders allusers_aedat and tags_updated_19_08_2020", _fits, _read),),
    caches=(CacheKind("sl-animals"),),
    published={"sl-animals": Published(128, 128, _CLASSES)},
)
