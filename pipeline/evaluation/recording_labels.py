"""The true classes of new recordings, from the names of their folders or from a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from preprocess.errors import LayoutError, more_errors

BY_FOLDER = "folders"
_MOST_ERRORS = 20


def read_labels(source: str, files: Sequence[Path], classes: Sequence[str]) -> dict[Path, str]:
    """Return the true class of every file that has one; a CSV file need not name all of them.

    Args:
        source: ``folders`` to use the name of the folder that contains each file, or the path of a CSV file with the
            columns path (relative to the CSV file) and label.
        files: Absolute paths.
        classes: Names of the classes.

    Raises:
        LayoutError: With a line for every file whose label is not a class, or if no file has a label.
    """
    if source == BY_FOLDER:
        labels: Mapping[Path, str] = {file: file.parent.name for file in files}
    else:
        labels = _read_table(Path(source).expanduser().absolute())
    looked_up = {file: labels.get(file, labels.get(file.resolve(), "")) for file in files}
    found = {file: label for file, label in looked_up.items() if label}
    known = ", ".join(classes)
    errors = [
        f"{file}: expected a label, one of {known}, found '{label}'. Correct --labels."
        for file, label in found.items()
        if label not in classes
    ]
    if not found:
        errors.append(
            f"{source}: expected the label of at least one of the files, found none. Add a line for each: path,label, "
            "with the path relative to the CSV file."
        )
    if len(errors) > _MOST_ERRORS:
        errors[_MOST_ERRORS:] = [f"--labels: {more_errors(len(errors) - _MOST_ERRORS)}."]
    if errors:
        raise LayoutError(*errors)
    return found


def _read_table(path: Path) -> dict[Path, str]:
    try:
        rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines(), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise LayoutError(
            f"--labels: expected '{BY_FOLDER}' or a CSV file with the columns path and label, found {path} ({reason})."
        ) from None
    if rows and not {"path", "label"} <= rows[0].keys():
        found = ",".join(map(str, rows[0]))[:80]
        raise LayoutError(f"{path}: line 1: expected the columns path and label, found '{found}'. Correct the line.")
    labels: dict[Path, str] = {}
    for row in rows:
        file, label = (path.parent / (row["path"] or "").strip()).resolve(), (row["label"] or "").strip()
        if labels.setdefault(file, label) != label:
            raise LayoutError(
                f"{path}: expected one label per file, found '{labels[file]}' and '{label}' for {file}. Tables of "
                "labelled intervals are only read by: spikeloom preprocess folder"
            )
    return labels
