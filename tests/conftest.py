"""Options and settings that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=Path(__file__).parent / "golden",
        help="folder with cases.json and one NAME.npz a case (default: the project's own copy)",
    )


@pytest.fixture(autouse=True, scope="session")
def _fixed_threads() -> None:
    """Thread counts change low bits."""
    torch.set_num_threads(1)
