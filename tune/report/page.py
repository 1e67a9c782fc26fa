"""One self-contained HTML page of a run, a search, a comparison, or a folder that holds some of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from pipeline.runs import write_whole
from preprocess.errors import RunError, SpikeloomError
from tune.report.comparison_section import comparison_section
from tune.report.run_section import run_section
from tune.report.search_section import search_section
from tune.report.section import Section

_HERE = Path(__file__).parent

# The file that tells what a folder is, and what makes its section; a page shows them in this order.
_KINDS = {
    "comparison.json": comparison_section,
    "search.json": search_section,
    "config.json": run_section,
}


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into the folder, whole or not at all.

    Args:
        folder: A run, a search or a comparison; or a folder with any of these directly in it, which makes one page of
            all. What is damaged is listed on the page and left out.

    Returns:
        The path of the page.

    Raises:
        RunError: If there is nothing to report, or everything is damaged.
    """
    folder = folder.expanduser().absolute()
    parts = _find_parts(folder)
    sections: list[Section] = []
    faults: list[str] = []
    for number, (path, marker) in enumerate(parts):
        try:
            sections.append(_KINDS[marker](path, f"s{number}"))
        except SpikeloomError as error:
            faults += error.faults
    if not sections:
        raise RunError(*faults)
    page = folder / "report.html"
    html = render_page(sections, faults)
    write_whole(page, lambda path: path.write_text(html, encoding="utf-8"))
    return page


def _find_parts(folder: Path) -> list[tuple[Path, str]]:
    """What the page shows: folders, each with the file that tells its kind."""
    if not folder.is_dir():
        raise RunError(f"{folder}: expected a folder of a run, search or comparison, found none")
    for marker in _KINDS:
        if (folder / marker).is_file():
            return [(folder, marker)]
    children = sorted(path for path in folder.iterdir() if path.is_dir())
    parts = [(path, marker) for marker in _KINDS for path in children if (path / marker).is_file()]
    if not parts:
        raise RunError(
            f"{folder}: expected a run, a search or a comparison in it, found none of {', '.join(_KINDS)}. "
            "Give a folder that spikeloom train, tune, compare or demo wrote."
        )
    return parts


def render_page(sections: Sequence[Section], faults: Sequence[str] = ()) -> str:
    """The page's HTML: style sheet, figures and pictures inside, nothing to load."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    title = _title(sections)
    emulated = any(section.emulated for section in sections)
    templates.filters["capitalised"] = _capitalise
    return templates.get_template("page.html.j2").render(
        headline=f"Emulated data: {title}" if emulated else _capitalise(title),
        sections=sections,
        faults=faults,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        version=version("spikeloom"),
        written=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _capitalise(title: str) -> str:
    return title[:1].upper() + title[1:]


def _title(sections: Sequence[Section]) -> str:
    if len(sections) == 1:
        return sections[0].title
    kinds = [_count(kind, [section.kind for section in sections]) for kind in dict.fromkeys(s.kind for s in sections)]
    datasets = dict.fromkeys(section.dataset for section in sections)
    return f"{' and '.join(kinds)} on {', '.join(datasets)}"


def _count(kind: str, kinds: Sequence[str]) -> str:
    plural = {"run": "runs", "search": "searches", "comparison": "comparisons"}
    count = kinds.count(kind)
    return kind if count == 1 else f"{count} {plural[kind]}"
