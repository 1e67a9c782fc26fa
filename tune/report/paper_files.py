"""The tables and figures of a report as files for a paper: Markdown and LaTeX, SVG and PDF."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from preprocess.files import make_folder, write_whole
from tune.rendering.style import PAPER, drawing, save
from tune.rendering.table import Table
from tune.report.section import Section

_LONGEST_NAME = 60
# Letters that are spelled out in file names.
_SPELLED = str.maketrans({"τ": "tau", "α": "alpha", "λ": "lambda", "σ": "sigma", "µ": "u", "×": "x", "−": " minus "})


def write_paper(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Write each table as .md and .tex (for the package booktabs), each figure as .svg and .pdf.

    File names are derived from titles, so that repeating a report overwrites the same files. Figures show the data that
    they were measured on, and whether these are emulated.

    Args:
        sections: The sections of the report.
        folder: ``paper`` next to the page; created if missing.

    Returns:
        The paths, tables first.

    Raises:
        RunError: If the folder cannot be written.
    """
    make_folder(folder)
    names = _Names()
    paths: list[Path] = []
    for section in sections:
        before = f"{section.folder.name} " if len(sections) > 1 else ""
        for table in (*section.tables, *(table for part in section.parts for table in part.tables)):
            paths += _write_table(table, folder, names.take(f"{before}table {_subject(table.title)}"))
    with drawing(PAPER):
        for section in sections:
            before = f"{section.folder.name} " if len(sections) > 1 else ""
            for picture in (*section.pictures, *(picture for part in section.parts for picture in part.pictures)):
                if picture.draw is not None:
                    name = names.take(f"{before}figure {picture.title}")
                    paths += save(picture.draw(picture.about or _about(section)), folder, name, ("svg", "pdf"))
    return paths


def count_files(paths: Iterable[Path]) -> str:
    """The number of tables and figures: ``2 tables (.md, .tex) and 7 figures (.svg, .pdf)``."""
    kinds = [path.suffix for path in paths]
    counts = [(kinds.count(".md"), "table", ".md, .tex"), (kinds.count(".svg"), "figure", ".svg, .pdf")]
    found = [f"{count} {name}{'' if count == 1 else 's'} ({files})" for count, name, files in counts if count]
    return " and ".join(found) or "nothing"


def _write_table(table: Table, folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}.md", folder / f"{name}.tex"]
    for path, text in zip(paths, (table.markdown(), table.latex()), strict=True):
        write_whole(path, partial(_write_text, text))
    return paths


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _about(section: Section) -> str:
    return f"{section.title}{'; emulated data' if section.emulated else ''}"


def _subject(title: str) -> str:
    """A table's title without the data that it was measured on, which follow a colon."""
    return title.removeprefix("Emulated data: ").partition(":")[0]


class _Names:
    """Unique file names from titles."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, title: str) -> str:
        plain = unicodedata.normalize("NFKD", title.translate(_SPELLED)).encode("ascii", "ignore").decode().lower()
        name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_NAME].strip("-")
        number, free = 1, name
        while free in self._taken:
            number += 1
            free = f"{name}-{number}"
        self._taken.add(free)
        return free
