"""The wheel holds all that the commands need, and nothing of the tests: it works outside a clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from csg.parsing import list_recipes
from csg.training.program import get_program_digest

ROOT = Path(__file__).parents[1]
PACKAGES = ("csg", "tune_spaces", "analysis")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources: building leaves its own files beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / "clone" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "clone" / "tests", ignore=shutil.ignore_patterns("*.npz", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "clone")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", folder, folder / "clone"], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_packages_with_recipes_figures_and_types(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources
    beside = {f"csg/recipes/{name}.yaml" for name in list_recipes()} | {"analysis/tables/published_figures.csv"}
    assert names - sources == beside | {f"{package}/py.typed" for package in PACKAGES}


def test_what_the_wheel_holds_plans_a_recipe_and_knows_the_published_figures_in_any_folder(
    wheel: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    (tmp_path / "elsewhere").mkdir()

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path / "elsewhere",
            env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert get_program_digest() in call("-m", "csg", "--version"), "it is the program that the clone is"
    assert "30 epochs = 141,420 iterations" in call("-m", "csg", "train", "--config", "visda17_csg", "--dry-run")
    program = "from analysis.tables import published; print(published.__file__, len(published.read_published()))"
    file, count = call("-c", program).split()
    assert Path(file).is_relative_to(tmp_path) and int(count) > 10
