"""Every command in README and docs runs as typed, on small data; every link leads to a file."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S
from PIL import Image

from benchmarks.pictures import SCREEN, page_commands, photograph
from preprocess.building.build_event_store import build_event_store
from preprocess.datasets import find_layout
from preprocess.emulator.gestures import emulate_gestures

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
PAGES = [REPOSITORY / "README.md", REPOSITORY / "SECURITY.md", *sorted(DOCS.glob("*.md")), *TUTORIALS]
INSIDE = sorted({*DOCS.rglob("*.md")} - {*PAGES})

# Pages whose commands take minutes: make test-long runs them.
LONG = (
    "api.md",
    "extending.md",
    "training.md",
    "own-recordings.md",
    "own-neuron.md",
    "cluster.md",
    "from-spikingjelly.md",
)

# A comment of its own in front of a block says why nobody can run it here.
_BLOCK = re.compile(r"(?P<reason><!-- not run: [^>]+ -->\n)?```(?P<language>sh|python)\n(?P<code>.*?)```", re.DOTALL)


def _free_port() -> int:
    """A port for the cluster of a page: the documented one may be in use."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


# The documented figures suit a user with minutes; a test has seconds.
_SMALLER = (
    (r"--samples-per-class \d+", "--samples-per-class 4"),
    (r"--schedule\.epochs \d+", "--schedule.epochs 1"),
    (r"--samples \d+", "--samples 2"),
    (r"--seeds \d+", "--seeds 1"),
    (r"\b6390\b", str(_free_port())),
    (r"(spikeloom (?:train|tune|compare) [\w-]+)", r"\1 --network.width 0.25 --batch-size 8"),
    (r"(spikeloom tune [\w-]+)", r"\1 --final-seeds 1 --space binning.timesteps=4,8"),
    (r"(spikeloom train [\w-]+)(?!.*schedule\.epochs)", r"\1 --schedule.epochs 1"),
    (r"(--final-seeds 1 .*)--final-seeds 1", r"\1"),
)


def _blocks(page: Path) -> list[tuple[str, str]]:
    found = _BLOCK.finditer(page.read_text("utf-8"))
    return [(block["language"], block["code"]) for block in found if not block["reason"]]


def _smaller(command: str) -> str:
    for pattern, replacement in _SMALLER:
        command = re.sub(pattern, replacement, command)
    return command.rstrip()


def _commands(page: Path) -> list[str]:
    lines = [(language, line) for language, code in _blocks(page) for line in code.splitlines()]
    return [_smaller(line) if language == "sh" else line for language, line in lines]


def _pages_to_run() -> list[Path]:
    """Pages with commands, but for those whose commands are all, in this order, on another page that runs."""
    chosen: list[Path] = []
    for page in sorted(PAGES, key=lambda page: -len(_commands(page))):
        texts = ["\n".join(_commands(other)) for other in chosen]
        if _commands(page) and not any("\n".join(_commands(page)) in text for text in texts):
            chosen.append(page)
    return [page for page in PAGES if page in chosen]


def _run(program: list[str], source: str, folder: Path) -> None:
    paths = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": paths, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    environment.pop("SPIKELOOM_CACHE", None)
    if "spikeloom cluster" in source:
        # Where `cluster up` records what it started, so that a cluster of this user is left alone.
        (folder / "tmp").mkdir(exist_ok=True)
        environment["TMPDIR"] = str(folder / "tmp")
    result = subprocess.run(
        program,
        input=source,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, f"{source}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"


@pytest.fixture(scope="module")
def gestures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings and the cache that a page which emulates none takes for granted."""
    folder = tmp_path_factory.mktemp("gestures")
    emulate_gestures(folder / "recordings", samples_per_class=4, seed=1)
    build_event_store(find_layout("emulated-gestures", folder / "recordings"), folder / "cache")
    return folder


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.name, marks=[pytest.mark.long] if p.name in LONG else []) for p in _pages_to_run()]
)
def test_the_commands_of_a_page_run_as_typed(page: Path, gestures: Path, tmp_path: Path) -> None:
    code = "\n".join(code for _, code in _blocks(page))
    if "gestures" in code and "spikeloom emulate" not in code:
        shutil.copytree(gestures, tmp_path, dirs_exist_ok=True)
    try:
        for language, block in _blocks(page):
            if language == "sh":
                _run(["bash", "-euo", "pipefail"], "\n".join(_smaller(line) for line in block.splitlines()), tmp_path)
            else:
                _run([sys.executable, "-W", "error::SyntaxWarning", "-"], block, tmp_path)
    finally:
        if "spikeloom cluster up" in code:
            # Nothing is left if the page ran to its end.
            _run(["bash"], "spikeloom cluster down || true", tmp_path)


@pytest.mark.parametrize("page", [*PAGES, *INSIDE], ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text("utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_a_block_that_is_not_run_says_why() -> None:
    blocks = [block for page in PAGES for block in _BLOCK.finditer(page.read_text("utf-8"))]
    assert all(len(block["reason"].split()) >= 6 for block in blocks if block["reason"])


def test_the_readme_is_short() -> None:
    lines = (REPOSITORY / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 200 and max(len(line) for line in lines if not line.startswith("|")) <= 130


def test_every_picture_of_an_analysis_comes_from_a_command_on_its_page():
    page = (DOCS / "science.md").read_text()
    analysed = {argv[2] for argv in page_commands(page) if argv[0] == "analyse"}
    assert analysed == set(re.findall(r"\]\(science/([\w-]+)\.svg\)", page))
    assert analysed == {path.stem for path in (DOCS / "science").glob("*.svg")}


def test_the_first_screen_of_a_page_is_photographed(tmp_path: Path):
    pytest.importorskip("playwright.sync_api")
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text("<body style='background: rgb(10, 200, 30); height: 5000px'>")
    photograph(page, picture)
    with Image.open(picture) as image:
        assert image.size == (SCREEN["width"], SCREEN["height"])
        assert image.convert("RGB").getpixel((400, 400)) == (10, 200, 30)
