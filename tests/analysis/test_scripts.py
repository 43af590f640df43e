"""Scripts start as users start them: by their path, so that their folder is the first on Python's path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["analysis", "tune_spaces"])
def test_no_room_beside_a_script_hides_a_module_of_python(folder: str) -> None:
    rooms = {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}
    assert rooms and not rooms & sys.stdlib_module_names


def test_a_script_starts_by_its_path(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "analysis" / "report.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--tracking-uri" in done.stdout, done.stderr
