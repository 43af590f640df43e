"""A finished run, and images to predict with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from csg.data.pair import TARGET_TEST
from csg.training.run import Run
from tests.finished_run import finished_run, write_images


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def photos(tmp_path: Path, trained: Run) -> Path:
    write_images(tmp_path / "photos", trained.pair, TARGET_TEST)
    return tmp_path / "photos"
