"""The paper's figures exist, look alike each time, and can be read in a column; what has no data is said."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from analysis import paper_figures, trace
from analysis.figures.captions import write_caption
from analysis.figures.paper import plan_figures
from analysis.figures.style import COLUMN, GREY, PALETTE, SMALL_SIZE, RunFigure, set_caption, write_figure
from analysis.runs.run_table import RunTable
from tests.analysis.figure_reading import changed, output_of, retagged, shown
from tests.analysis.made_up_experiment import ablation, write_experiment


@pytest.mark.slow
def test_each_figure_is_written_as_pdf_and_png(table: RunTable, tmp_path: Path) -> None:
    only = changed(table, lambda run: run if "motivating" not in run.run_id and "asg" not in run.run_id else None)
    write_experiment(only.runs, tmp_path / "runs")
    arguments = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--importance-refits", "2"]
    assert paper_figures.main(arguments) == 0
    names = [f"features_{design}" for design in ("components", "temperature", "weight")]
    names += ["diversity_accuracy", "sensitivity", "search_budget", "selection_protocols", "attention"]
    names += ["importance_csg-source-seed0"]
    expected = sorted(f"{name}.{suffix}" for name in names for suffix in ("pdf", "png", "provenance.json"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == expected
    assert (tmp_path / "out" / "sensitivity.pdf").read_bytes().startswith(b"%PDF")


def test_captions_stand_beside_the_pictures_where_a_paper_sets_its_own(
    figures: dict[str, RunFigure], tmp_path: Path
) -> None:
    figure = figures["diversity_accuracy"]
    caption, height, below = figure.caption, figure.get_figheight(), figure.get_supxlabel()
    plain, latex = write_caption(figure, tmp_path, "diversity_accuracy")
    assert figure.get_supxlabel() == "" and figure.get_figheight() < height, "the picture is lower without it"
    set_caption(figure, caption)
    assert figure.get_supxlabel() == below, "for the other tests"
    assert figure.get_figheight() == pytest.approx(height)
    assert plain.read_text() == f"Diversity against accuracy. {caption}\n"
    assert r"\label{fig:diversity-accuracy}" in latex.read_text().replace("_", "-")
    assert "$E_0$" in latex.read_text() and r"95 \%" in latex.read_text()


def test_every_figure_names_the_runs_it_was_drawn_from(
    table: RunTable, figures: dict[str, RunFigure], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = {name: {run.run_id for run in figure.runs} for name, figure in figures.items()}
    assert all(drawn.values())
    assert drawn["features_components"] == {f"components-{cell}-0" for cell in range(4)}
    search = {run.run_id for run in table.list_searches()[0].runs if run.status == "finished"}
    assert drawn["importance_csg-source-seed0"] == search - {"csg-source-seed0-0"}, "without source only"
    assert drawn["search_budget"] < {run.run_id for each in table.list_searches() for run in each.runs}
    curves = {run.run_id for run in table.runs if re.match(r"(temperature|weight)-\d-\d", run.run_id)}
    assert curves < drawn["sensitivity"]
    write_figure(figures["features_components"], tmp_path, "features")
    said = output_of(trace.main, ["features", "--figures", tmp_path], capsys)
    assert "features: drawn from 4 runs" in said and "run components-3-0" in said
    assert "csg train --method.name csg" in said and "commit c0" in said and "data.fingerprint data0" in said
    assert trace.main(["nothing", "--figures", str(tmp_path)]) == 2
    assert "a figure of features in" in capsys.readouterr().err


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(table: RunTable, tmp_path: Path) -> None:
    for name in ("features_components", "sensitivity", "search_budget"):
        first, second = (
            write_figure(plan_figures(table)[name](), tmp_path / folder, name) for folder in ("first", "second")
        )
        for one, other in zip(first, second, strict=True):
            assert one.read_bytes() == other.read_bytes(), one.name
        assert b"CreationDate" not in first[0].read_bytes()


@pytest.mark.slow
def test_every_figure_is_as_wide_as_a_column_and_legible_there(figures: dict[str, RunFigure]) -> None:
    for name, figure in figures.items():
        assert figure.get_figwidth() == COLUMN
        for text in shown(figure):
            assert float(text.get_fontsize()) >= SMALL_SIZE, (name, text)
            assert "$" not in text.get_text(), f"{name}: indices of formulas are set smaller than their text"
        box, pixel = figure.get_tightbbox(), 1 / figure.dpi
        assert box.x0 > -pixel and box.x1 < COLUMN + pixel, f"{name}: something is cut off at the side"
        assert box.y0 > -pixel and box.y1 < figure.get_figheight() + pixel, f"{name}: cut off above or below"


def test_every_colour_is_one_that_colour_blind_readers_can_tell(figures: dict[str, RunFigure]) -> None:
    allowed = {colour.lower() for colour in (*PALETTE, GREY)}
    for name, figure in figures.items():
        for axes in figure.axes:
            marks = [each for each in axes.collections if isinstance(each, PathCollection)]
            used = {to_hex(colour) for each in marks for colour in np.asarray(each.get_facecolor())}
            used |= {to_hex(line.get_color()) for line in axes.lines} | {
                to_hex(each.get_facecolor()) for each in axes.patches
            }
            assert used <= allowed, name


def test_what_has_no_data_is_skipped_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = ablation("rivals", {"a": {"method.name": "asg"}, "b": {"method.name": "csg"}}, seeds=3, lifts=(0, 0.1))
    write_experiment(runs, tmp_path / "runs", features=False)
    arguments = ["--runs", tmp_path / "runs", "--out", tmp_path / "out"]
    said = output_of(paper_figures.main, arguments, capsys)
    assert "skipped features_rivals: no finished run stored features" in said
    assert "skipped sensitivity: no two values" in said and "skipped search_budget: no search" in said
    assert "skipped attention: no comparable finished run of source only or CSG stored pictures" in said
    assert {path.stem for path in (tmp_path / "out").glob("*.pdf")} == {"diversity_accuracy", "selection_protocols"}


@pytest.mark.slow
def test_mixed_runs_and_unusable_flags_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = ablation("rivals", {"a": {}, "b": {}}, seeds=3, lifts=(0, 0.1))
    mixed = [retagged(run, commit="c1") if run.tags.get("csg.cell") == "b" else run for run in runs]
    write_experiment(mixed, tmp_path / "runs")
    arguments = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    assert paper_figures.main(arguments) == 2
    captured = capsys.readouterr()
    assert re.search(r"features_rivals: runs of more than one commit.*--mix commit", captured.err)
    assert "diversity_accuracy.pdf" in captured.out, "the others are drawn"
    assert paper_figures.main([*arguments, "--experiment", "unknown"]) == 2
    assert paper_figures.main([*arguments, "--importance-refits", "-1"]) == 2
    write_experiment([dataclasses.replace(run, status="failed", metrics={}) for run in runs], tmp_path / "runs")
    assert paper_figures.main(arguments) == 2
    assert "no figure can be drawn" in capsys.readouterr().err
