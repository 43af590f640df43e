"""The notebook and the page on Python run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.finished_run import write_images
from tests.made_up_pair import made_up_pair

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "csg_in_python.ipynb"
PAGE = ROOT / "docs" / "python.md"


def read_notebook() -> nbformat.NotebookNode:
    """Read the notebook as it is kept."""
    return nbformat.read(NOTEBOOK, as_version=4)


def count_figures(notebook: nbformat.NotebookNode) -> int:
    """Count the figures that a notebook shows."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_the_notebook_shows_what_came_of_its_cells() -> None:
    kept = read_notebook()
    nbformat.validate(kept)
    counts = [cell.execution_count for cell in kept.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "it was run once, from its first cell to its last"
    assert count_figures(kept) == 3


@pytest.mark.slow
def test_the_notebook_and_the_page_run_from_their_first_line_to_their_last(tmp_path: Path) -> None:
    notebook = read_notebook()
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert count_figures(notebook) == 3

    write_images(tmp_path / "photographs", made_up_pair(), "target/test")
    page = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    command = [sys.executable, "-c", page]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 epochs are on record" in done.stdout, "the page's runs are the notebook's, and not trained again"
