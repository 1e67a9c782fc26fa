"""What is installed elsewhere: the wheel and the sdist have all files and no others, and the wheel works by itself."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("preprocess", "pipeline", "tune")
BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"


def source_files() -> set[str]:
    """All files of the packages that are no products of running them."""
    files = (path for package in PACKAGES for path in (REPOSITORY / package).rglob("*") if path.is_file())
    return {str(path.relative_to(REPOSITORY)) for path in files if "__pycache__" not in path.parts}


def build(kind: str, sources: Path, out: Path) -> Path:
    done = subprocess.run([sys.executable, "-c", BUILD, kind, out], cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The wheel, the sdist, and the wheel that is built from the sdist."""
    sources, out, unpacked = (tmp_path_factory.mktemp(name) for name in ("sources", "out", "unpacked"))
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, sources / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, sources)
    wheel, sdist = build("wheel", sources, out), build("sdist", sources, out)
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (again,) = unpacked.iterdir()
    (out / "again").mkdir()
    return wheel, sdist, build("wheel", again, out / "again")


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_has_every_file_of_the_packages_and_no_other(built: tuple[Path, Path, Path]):
    assert names_in(built[0]) == source_files()


def test_the_wheel_built_from_the_sdist_is_the_same(built: tuple[Path, Path, Path]):
    wheel, _, again = built
    assert names_in(again) == names_in(wheel)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert all(first.read(name) == second.read(name) for name in names_in(wheel))


def test_the_sdist_has_readme_licence_and_nothing_but_the_packages(built: tuple[Path, Path, Path]):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    assert {"README.md", "LICENSE", "pyproject.toml"} <= names
    assert {name.split("/")[0] for name in names if "/" in name} == {*PACKAGES, "spikeloom.egg-info"}


def new_environment(folder: Path) -> Path:
    """A new environment with the dependencies of this one, but without spikeloom."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    # A plain path in a .pth file: the folder's own .pth files, such as that of an editable install, are not read.
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def pip_for(environment: Path) -> list[str]:
    """The pip of this environment, for another one."""
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(environment / "bin" / "python")]


@pytest.fixture
def installed(built: tuple[Path, Path, Path], tmp_path: Path) -> Path:
    """The program, installed from the wheel in a new environment; its dependencies are those of this one."""
    environment = new_environment(tmp_path / "environment")
    subprocess.run([*pip_for(environment), "install", "--quiet", "--no-deps", "--no-index", built[0]], check=True)
    return environment / "bin" / "spikeloom"


@pytest.mark.long
@pytest.mark.ray
def test_the_installed_wheel_runs_the_demo_outside_the_repository(installed: Path, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = [installed.with_name("python"), "-c", "import tune; print(tune.__file__)"]
    found = subprocess.run(where, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(installed.parent.parent)
    done = subprocess.run([installed, "demo"], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (elsewhere / "demo" / "report.html").stat().st_size > 10_000


def docker_instructions(name: str) -> list[list[str]]:
    """The arguments of each instruction of this name in the Dockerfile."""
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith(f"{name} ")]


def test_the_image_installs_from_the_files_that_it_copies(tmp_path: Path):
    # There is no Docker where tests run: the files are copied, and pip is called, as the Dockerfile says.
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for *sources, target in docker_instructions("COPY"):
        assert set(sources) <= allowed
        folder = tmp_path / Path(target).relative_to("/")
        for source in (REPOSITORY / name for name in sources):
            if source.is_dir():
                shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, folder)
    environment = new_environment(tmp_path / "environment")
    (install,) = [line for line in docker_instructions("RUN") if line[0] == "pip"]
    given = [argument.replace("/opt/", f"{tmp_path}/opt/") for argument in install[1:]]
    offline = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip_for(environment), *given, *offline], check=True)
    done = subprocess.run(
        [environment / "bin" / "spikeloom", "--version"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0 and done.stdout.startswith("spikeloom "), done.stderr
