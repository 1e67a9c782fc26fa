"""A mutant: a small defect that is put into a copy of the sources, and the tests that must notice it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One defect.

    Attributes:
        title: The defect in plain words.
        file: The file that contains it, relative to the repository.
        text: The text that is replaced, which occurs once in the file.
        replacement: What replaces it.
        tests: The tests of which at least one must fail, as pytest names them; parameters may be left out.
    """

    title: str
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]

    def source(self, root: Path) -> str:
        """The text of the file with the defect.

        Args:
            root: The folder of the repository, or of a copy.

        Raises:
            ValueError: If the file is missing, or the text does not occur exactly once.
        """
        path = root / self.file
        if not path.is_file():
            raise ValueError(f"{self.file}: expected a file, found none")
        source = path.read_text()
        count = source.count(self.text)
        if count != 1:
            raise ValueError(f"{self.file}: expected this text once, found it {count} times: {self.text}")
        return source.replace(self.text, self.replacement)

    def missing_tests(self, root: Path) -> list[str]:
        """Those of its tests that do not exist."""
        return [test for test in self.tests if not _exists(root, test)]


def _exists(root: Path, test: str) -> bool:
    name, _, function = test.partition("::")
    path = root / name
    if not path.is_file():
        return False
    return re.search(rf"^def {re.escape(function.partition('[')[0])}\(", path.read_text(), re.MULTILINE) is not None
