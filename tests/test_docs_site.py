"""The documentation as a site: its navigation, anchors and generated pages; `make docs` builds it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from patience import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
PAGES = [*(REPOSITORY / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md")), *sorted(DOCS.rglob("*.md"))]


def _site_pages() -> ModuleType:
    """The module beside the pages, which is in no package."""
    spec = importlib.util.spec_from_file_location("site_pages", DOCS / "site_build" / "site_pages.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site_pages = _site_pages()


def _leaves(entry: object) -> Iterator[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for inside in entry.values() if isinstance(entry, dict) else entry:  # type: ignore[attr-defined]
            yield from _leaves(inside)


def _anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page; a heading that is there twice gets a number, as on GitHub."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    slugs = [site_pages.slug(heading.replace("`", "")) for heading in re.findall(r"^#+ +(.*)$", text, re.MULTILINE)]
    seen: Counter[str] = Counter()
    anchors = set()
    for slug in slugs:
        anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return anchors


def test_the_navigation_has_every_page_once():
    config = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text("utf-8"))
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert sorted(_leaves(config["nav"])) == sorted([*pages, *site_pages.generated_pages()])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_anchor_of_a_link_is_a_heading(page: Path):
    links = re.findall(r"\]\((?!\w+:)([^)#\s]*)#([^)\s]+)\)", page.read_text("utf-8"))
    assert [link for link in links if link[1] not in _anchors(page.parent / link[0] if link[0] else page)] == []


@pytest.mark.parametrize(
    ("written", "page", "on_the_site"),
    [
        ("[a](docs/search.md#methods)", "index.md", "[a](search.md#methods)"),
        ("[a](docs/results)", "index.md", "[a](results/README.md)"),
        ("![a](docs/report.png)", "index.md", "![a](report.png)"),
        ("[a](../SECURITY.md)", "files.md", "[a](security.md)"),
        ("[a](../../README.md)", "internals/scale.md", "[a](../index.md)"),
        ("[a](../examples)", "api.md", "[a](examples.md)"),
        ("[a](../examples/06_search.py)", "api.md", "[a](examples.md#06_searchpy)"),
        ("[Makefile](../Makefile)", "api.md", "`Makefile`"),
        ("[the rules](../Makefile)", "api.md", "the rules (`Makefile`)"),
        ("[a](https://x.y) [b](#c)", "api.md", "[a](https://x.y) [b](#c)"),
        ("```\n[a](../Makefile)\n```", "api.md", "```\n[a](../Makefile)\n```"),
        ("- a\n  - b", "security.md", "- a\n    - b"),
        ("| `a\\|b` |", "files.md", "| `a|b` |"),
        ("## tune: x\n| `report(x)` | `search` |", "api.md",
         "## tune: x\n| [`report(x)`](reference/tune.md#tune.report) | `search` |"),
        ("## tune: x\n| `search`, `report` | a |", "api.md",
         "## tune: x\n| [`search`](reference/tune.md#tune.search), [`report`](reference/tune.md#tune.report) | a |"),
        ("## tune: x\n| `search` | a `report` |", "api.md",
         "## tune: x\n| [`search`](reference/tune.md#tune.search) | a `report` |"),
    ],
)  # fmt: skip
def test_markdown_becomes_that_of_the_site(written: str, page: str, on_the_site: str):
    assert site_pages.site_markdown(written, page) == on_the_site


@pytest.mark.parametrize("package", site_pages.PACKAGES)
def test_the_reference_and_the_overview_have_every_public_name(package: str):
    names = list(site_pages.public_names(package))
    assert names == importlib.import_module(package).__all__
    text = (DOCS / "api.md").read_text("utf-8")
    assert [name for name in names if not re.search(rf"`(?:{package}\.)?{name}\b", text)] == []


def _docstring(home: str) -> str | None:
    """What the source says of a public name itself, not what it inherits; of a constant, the text below it."""
    module, _, name = home.rpartition(".")
    body = ast.parse((REPOSITORY / f"{module.replace('.', '/')}.py").read_text("utf-8")).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return ast.get_docstring(node)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return ast.literal_eval(below.value) if isinstance(below, ast.Expr) else None
    return None


@pytest.mark.parametrize("package", site_pages.PACKAGES)
def test_every_public_name_has_a_docstring_that_starts_with_one_line(package: str):
    homes = site_pages.public_names(package)
    first = {name: (_docstring(home) or "").partition("\n")[0] for name, home in homes.items()}
    assert {name: line for name, line in first.items() if not line.endswith((".", ":")) or len(line) > 120} == {}


def test_what_a_page_loads_from_the_network_is_found(tmp_path: Path):
    (tmp_path / "a.html").write_text('<a href="https://a.b"></a><script src="c.js"></script><img src="//d.e/f.png">')
    (tmp_path / "b.html").write_text('<link rel="stylesheet" href="https://g.h/i.css"><link rel="icon" href="j.png">')
    (tmp_path / "k.css").write_text("@font-face{src:url(https://l.m/n.woff)} a{background:url(o.png)}")
    assert [line.split(": ")[1] for line in site_pages.outside_loads(tmp_path)] == [
        "//d.e/f.png", "https://g.h/i.css", "https://l.m/n.woff",
    ]  # fmt: skip


@pytest.mark.long
def test_the_site_builds_without_a_warning(tmp_path: Path):
    pytest.importorskip("material", reason="the extra docs is not installed: make docs")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed: make docs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").exists()
    assert 'id="tune.search"' in (tmp_path / "site" / "reference" / "tune.html").read_text("utf-8")
