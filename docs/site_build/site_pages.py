"""The pages of the site that are not files of docs/, and what differs on the site from Markdown as GitHub shows it."""

from __future__ import annotations

import ast
import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("preprocess", "pipeline", "tune")

# Files outside docs/ that are pages of the site, and their names there.
PAGES = {"README.md": "index.md", "SECURITY.md": "security.md", "CHANGELOG.md": "changelog.md"}

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_FENCE = re.compile(r"(^ *```.*?^ *```)", re.DOTALL | re.MULTILINE)


def slug(text: str, separator: str = "-") -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", separator)


def generated_pages() -> dict[str, str]:
    """Name and Markdown of every page that is not a file of docs/."""
    pages = {page: (REPOSITORY / source).read_text("utf-8") for source, page in PAGES.items()}
    return pages | {f"reference/{package}.md": reference(package) for package in PACKAGES} | {"examples.md": examples()}


def site_markdown(markdown: str, page: str) -> str:
    """The Markdown of a page for MkDocs.

    Args:
        markdown: As it is in the repository.
        page: Name of the page on the site.
    """
    written = {made: source for source, made in PAGES.items()}.get(page, f"docs/{page}")
    parts = _FENCE.split(markdown)  # blocks of code are at odd positions
    for k in range(0, len(parts), 2):
        text = _LINK.sub(lambda link: site_link(link, written, page), parts[k])
        # GitHub reads nested lists indented by two columns, and bars in code only if escaped; MkDocs needs four columns
        # and shows the backslash.
        text = re.sub(r"(?m)^  (?=- )", "    ", text)
        text = re.sub(r"`[^`\n]+`", lambda code: code[0].replace(r"\|", "|"), text)
        parts[k] = link_names(text) if page == "api.md" else text
    return "".join(parts)


def site_link(link: re.Match[str], written: str, page: str) -> str:
    """A link as the page on the site needs it: a file that is not on the site is named.

    Args:
        link: As it is written.
        written: The file in which it is, from the repository's root.
        page: Name of the page on the site.
    """
    target, _, anchor = link["target"].partition("#")
    # Generated pages are written for the site.
    if not target or re.match(r"\w+:", target) or page.startswith(("reference/", "examples.md")):
        return link[0]
    path = os.path.normpath(PurePosixPath(written).parent / target)
    if not (REPOSITORY / path).exists():
        return link[0]  # which MkDocs reports
    if PurePosixPath(path).parts[0] == "examples":
        path, anchor = "docs/examples.md", slug(PurePosixPath(path).name) if "/" in path else ""
    path = f"docs/{PAGES[path]}" if path in PAGES else path
    path = f"{path}/README.md" if (REPOSITORY / path / "README.md").exists() else path
    if path.startswith("docs/"):
        inside = os.path.relpath(path.removeprefix("docs/"), PurePosixPath(page).parent)
        return f"{link['image']}[{link['text']}]({inside}{'#' * bool(anchor)}{anchor})"
    return f"`{path}`" if path.endswith(link["text"].strip("`")) else f"{link['text']} (`{path}`)"


@cache
def public_names(package: str) -> dict[str, str]:
    """Public names of a package in the order of its `__all__`, and what each stands for, without importing it."""
    tree = ast.parse((REPOSITORY / package / "__init__.py").read_text("utf-8"))
    homes, lists = {}, {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            homes |= {alias.asname: f"{node.module}.{alias.name}" for alias in node.names if alias.asname}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            lists[node.targets[0].id] = node.value
    # Written out, or the keys of _HOMES.
    names = lists["__all__"] if isinstance(lists["__all__"], ast.List) else lists["_HOMES"]
    keys = names.keys if isinstance(names, ast.Dict) else getattr(names, "elts", [])
    return {key.value: homes[key.value] for key in keys if isinstance(key, ast.Constant)}


def reference(package: str) -> str:
    """The page of a package: an entry for each public name, which mkdocstrings fills in."""
    lines = [f"# {package}", "", f"Every public name of `{package}`. [Overview](../api.md)", ""]
    for name, home in public_names(package).items():
        lines += [f"[](){{#{package}.{name}}}", "", f"::: {home}", "    options:"]
        lines += [f"      heading: {package}.{name}", f"      toc_label: {name}", ""]
    return "\n".join(lines)


def link_names(text: str) -> str:
    """The tables of api.md, in which each public name in the first column becomes a link to its entry."""
    package = ""

    def linked(code: re.Match[str]) -> str:
        name = re.match(r"\w+", code[1])
        if name is None or name[0] not in public_names(package):
            return code[0]
        return f"[{code[0]}](reference/{package}.md#{package}.{name[0]})"

    lines = []
    for line in text.splitlines(keepends=True):
        if heading := re.match(rf"## ({'|'.join(PACKAGES)}):", line):
            package = heading[1]
        first = re.match(r"\| *`[^|]*", line) if package else None
        lines.append(re.sub(r"`([^`]+)`", linked, first[0]) + line[first.end() :] if first else line)
    return "".join(lines)


def examples() -> str:
    """The page of the examples: each script under a heading of its own."""
    page = ["# Examples", "", "The short scripts of the folder `examples`; the tests run each as it is.", ""]
    for path in sorted((REPOSITORY / "examples").glob("*.py")):
        page += [f"## {path.name}", "", "```python", path.read_text("utf-8").rstrip(), "```", ""]
    return "\n".join(page)


class _Loads(HTMLParser):
    """What a browser would load from elsewhere for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        keys = ("src", "srcset", "poster", "data", *(("href",) if tag in ("link", "use", "image") else ()))
        if values.get("rel") != "canonical":
            self.found += [url for key in keys if re.match(r"(https?:)?//", url := values.get(key) or "")]


def outside_loads(site: Path) -> list[str]:
    """Scripts, styles, fonts and images that the pages of a site would load from the network, each with its page."""
    found = []
    for page in sorted(site.rglob("*.html")):
        loads = _Loads()
        loads.feed(page.read_text("utf-8"))
        found += [f"{page.relative_to(site)}: {url}" for url in loads.found]
    for style in sorted(site.rglob("*.css")):
        urls = re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^)\"']+)", style.read_text("utf-8"))
        found += [f"{style.relative_to(site)}: {url}" for url in urls]
    return found
