"""Find the local Python files that a file imports, directly or through others, without running them."""

from __future__ import annotations

import ast
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# This package's own modules are identified by its version, also in an editable installation.
_OURS = frozenset({"preprocess", "pipeline", "tune"})


def imported_files(path: Path) -> list[Path]:
    """Return every local file that a Python file imports, sorted and without the file itself.

    All import statements are followed, including those inside functions. Python's standard library, installed packages
    and this package are excluded. Files that are opened, or imported by a computed name, are not found.

    Args:
        path: A file; one that is not Python source has no imports.
    """
    start = path.resolve()
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        for imported in _direct_imports(waiting.pop()):
            if imported != start and imported not in found:
                found.add(imported)
                waiting.append(imported)
    return sorted(found)


def local_file(module: str) -> Path | None:
    """The file of a loaded module that is the user's own: neither installed nor of this package."""
    path = getattr(sys.modules.get(module), "__file__", None)
    if path is None or module.partition(".")[0] in _OURS or not Path(path).is_file():
        return None
    file = Path(path).resolve()
    return None if _is_installed(file) else file


def _direct_imports(path: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        # A compiled module, or a file that raises an error when it is imported.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules([path.parent, *map(Path, sys.path)], alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            places = [path.parents[node.level - 1]] if node.level else [path.parent, *map(Path, sys.path)]
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                # A name imported from a package may be a module.
                yield from _modules(places, [*parts, alias.name])


def _modules(places: list[Path], parts: list[str]) -> Iterator[Path]:
    """Iterate over the files of a dotted name and its parent packages, in the first folder that has its first part."""
    if parts[0] in _OURS or parts[0] in sys.stdlib_module_names:
        return
    for place in places:
        top = place.absolute() / parts[0]
        if _file_of(top) is None and not top.is_dir():
            continue
        for depth in range(len(parts)):
            file = _file_of(place.absolute().joinpath(*parts[: depth + 1]))
            if file is not None and not _is_installed(file):
                yield file
        return


def _file_of(module: Path) -> Path | None:
    """Return the source file of a module or package, given its path without a suffix, with links resolved."""
    for file in (module / "__init__.py", module.with_name(f"{module.name}.py")):
        if file.is_file():
            return file.resolve()
    return None


def _is_installed(path: Path) -> bool:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    roots = [*map(sysconfig.get_path, names), *site.getsitepackages(), site.getusersitepackages()]
    return any(path.is_relative_to(Path(root).resolve()) for root in roots)
