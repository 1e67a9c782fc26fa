"""Print the lowest versions that pyproject.toml allows, as constraints for pip: make test-lowest."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def lowest_versions(project: dict[str, object]) -> list[str]:
    """One ``name==version`` per requirement of the project and its extras.

    Raises:
        ValueError: If a requirement has no lower bound.
    """
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict) and isinstance(project["dependencies"], list)
    found = set()
    for requirement in (*project["dependencies"], *(one for extra in extras.values() for one in extra)):
        match = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)(?:;.*)?", requirement)
        if match is None:
            raise ValueError(f"{PYPROJECT}: expected name>=version, found {requirement}")
        found.add(f"{match[1]}=={match[2]}")
        if match[1] == "torch":
            # Other packages bring it along, and it only works with the torch of its own version.
            found.add(f"torchaudio=={match[2]}")
    return sorted(found)


if __name__ == "__main__":
    print("\n".join(lowest_versions(tomllib.loads(PYPROJECT.read_text())["project"])))
