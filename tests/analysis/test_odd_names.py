"""A report and a trace of runs whose names, addresses or methods are not what this machine takes as they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from analysis import report
from analysis.report import ReportOptions
from analysis.runs.provenance import write_command
from csg.parsing import build_config
from csg.tracking import TrackedRun
from csg.tracking.reading import format_setting, parse_setting
from csg.tracking.tracker import list_active_settings
from tests.analysis.made_up_experiment import CSG, SOURCE_ONLY, ablation, search, write_experiment

GONE = "/nowhere/own.py:Method"
EXPERIMENT = [*ablation("two", {"one": SOURCE_ONLY, "other": CSG}, seeds=2, lifts=(0.0, 0.1)), *search("s-1")]


def without_method_file(run: TrackedRun) -> TrackedRun:
    if run.tags.get("csg.cell") != "other":
        return run
    return dataclasses.replace(run, params={**run.params, "method.path": GONE, "method.name": "own"})


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long to draw."""
    monkeypatch.setattr(report, "write_figures", lambda *_, **__: "")


def test_a_page_shows_names_with_hidden_characters_and_an_address_with_quotes(tmp_path: Path) -> None:
    named = [
        dataclasses.replace(run, tags={**run.tags, "mlflow.note.content": "a\x1b[1m \udcdf \u202e"})
        for run in EXPERIMENT
    ]
    table = write_experiment(named, tmp_path / "runs", features=False)
    ui = "http://h/?a='b'&c=<d>"
    out = tmp_path / "page.html"
    assert report.main(["--runs", table.place, "--out", str(out), "--ui", ui]) == 0
    page = out.read_bytes().decode()
    assert "a\\x1b[1m \\xdf \\u202e" in page and "\x1b" not in page
    assert "<a href='#run-s-1-" in page
    assert "nothing here leads to MLflow" in page and "in MLflow" not in page and "http://h" not in page
    in_a_store = dataclasses.replace(
        table, runs=tuple(dataclasses.replace(run, experiment_id="1") for run in table.runs)
    )
    page = report.write_page(in_a_store, report.ReportOptions(out=out, ui=ui))
    assert "a='b'" not in page and "<d>" not in page and "http://h/?a=&#x27;b&#x27;&amp;c=&lt;d&gt;/#" in page


def test_a_method_that_is_not_on_this_machine_refuses_neither_page_nor_trace(tmp_path: Path) -> None:
    table = write_experiment(list(map(without_method_file, EXPERIMENT)), tmp_path, features=False)
    page = report.write_page(table, ReportOptions())
    assert (
        f"<span>--method.path</span> {GONE}" in page
        and "the method is not on this machine (method.path: expected" in page
    )
    said, command = write_command(
        {"method.path": GONE, "data.name": "glyphs", "optim.lr": 0.03, "train.output": "runs"}
    ).split("\n")
    assert said.startswith("# the method is not on this machine (method.path: expected a Python file, found nothing at")
    assert command == f"csg train --method.path {GONE} --data.name glyphs --optim.lr 0.03"


def test_each_of_several_folders_is_a_word_of_the_command() -> None:
    config = build_config({"data.name": "folders", "data.source": ("renders a", "b")})
    params = {name: parse_setting(format_setting(value)) for name, value in list_active_settings(config).items()}
    assert "--data.source 'renders a' b" in write_command(params)
