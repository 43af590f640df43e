"""The measurement of a card, small on a CPU."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks import on_gpu
from benchmarks.card import FULL
from benchmarks.on_gpu import list_cells

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_runs_small_on_a_cpu_and_measures_every_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)  # where its trials find it
    monkeypatch.setattr(sys, "argv", ["on_gpu.py", "--small", "--device", "cpu", "--steps", "1"])
    on_gpu.main()
    tables = capsys.readouterr().out.strip().split("\n\n")
    assert len(tables) == 5 and "no GPU" in tables[0]
    for table in tables[1:]:
        for row in table.splitlines()[2:]:
            assert re.search(r"\| +[\d.]+( \(process\))? \|$", row) or "not installed" in row, row


def test_every_question_is_asked() -> None:
    cells = list(list_cells(FULL))
    for name, values in {
        "encoder": {"resnet101", "dinov2"},
        "batch": {32, 128},
        "precision": {"bfloat16", "float32"},
        "compile": {True, False},
        "channels_last": {True, False},
    }.items():
        assert {cell[name] for cell in cells} == values
    assert len(cells) == len({tuple(cell.items()) for cell in cells})
