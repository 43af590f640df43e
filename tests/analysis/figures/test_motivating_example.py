"""The motivating example is drawn, and compared with the paper's only where it can be."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import pytest

from analysis import motivating_example
from analysis.runs.run_table import RunTable
from csg.messages.errors import UserError
from tests.analysis.figure_reading import changed, named, output_of
from tests.analysis.made_up_experiment import search, write_experiment


def test_the_motivating_example_is_drawn_and_not_compared_with_other_data(
    table: RunTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = output_of(motivating_example.main, ["--runs", table.place, "--out", tmp_path], capsys)
    energies = [
        run.metrics["target/test/E0_mhe"] for run in named(table, "motivating_example").get_cell("trained on real")
    ]
    mean, sd = statistics.fmean(energies), statistics.stdev(energies)
    assert f"trained on real: E_0 (mhe) {mean:.4f} ± {sd:.4f} (2 seeds)" in said
    assert "not comparable with these data (glyphs)" in said and "0.3355" not in said
    assert {path.name for path in tmp_path.glob("*.p*")} >= {"motivating_example.pdf", "motivating_example.png"}


def test_published_energies_stand_beside_those_on_visda_17(table: RunTable) -> None:
    place = {"data.name": "visda17", "data.target_split": "test", "model.name": "resnet50"}
    there = changed(table, lambda run: dataclasses.replace(run, params={**run.params, **place}))
    lines = motivating_example.describe_energies(named(there, "motivating_example"))
    assert [line.rpartition(", published ")[2] for line in lines[:3]] == ["0.2541", "0.3355", "0.4408"]
    assert lines[3] == "Published: CSG Figure 2; it differs in model.name resnet50 here, resnet101 there."


def test_without_the_motivating_example_the_script_says_how_to_train_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_experiment(search("csg"), tmp_path)
    assert motivating_example.main(["--runs", str(tmp_path)]) == 2
    assert "python tune_spaces/motivating_example.py" in capsys.readouterr().err
    with pytest.raises(UserError, match="expected an ablation of the design motivating_example"):
        motivating_example.choose_example(table)
