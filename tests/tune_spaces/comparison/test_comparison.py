"""Comparisons: a search for each cell of a design, and a table of what they chose under fresh seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from csg.tracking import TrackedRun, Tracker, get_default_tracking_uri
from tests.few_images import EXPERIMENT, few_images
from tests.stores import put_store_below
from tune_spaces import visda_comparison

DESIGN = """
from tune_spaces.designs.design import Cell, Design
PAIR = Design(
    title="Two methods",
    base="source only",
    cells=(
        Cell("source only", {"method.name": "source_only", "data.augmentation": "none"}),
        Cell("weights", {"method.name": "weight_l2", "data.augmentation": "none"}),
    ),
)
"""


def command(folder: Path, *flags: str) -> list[str]:
    design = folder / "design.py"
    design.write_text(DESIGN)
    put_store_below(folder / "runs")
    return [
        *("--design", f"{design}:PAIR", "--trials", "2", "--seeds", "1", *few_images()),
        *("--data.source-images", "24", "--train.epochs", "1", "--train.batch-size", "8", "--train.threads", "1"),
        *("--train.output", str(folder / "runs"), *flags),
    ]


@pytest.mark.slow
def test_each_cell_is_searched_as_long_and_its_best_is_trained_under_fresh_seeds_once(
    in_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visda_comparison.main(command(tmp_path)) == 0
    said = capsys.readouterr().out
    assert "search 1 of 2, 2 trials" in said and "search 2 of 2, 3 trials" in said, "source only is its reference"
    tracker = Tracker(get_default_tracking_uri(str(tmp_path / "runs")), EXPERIMENT)
    parent = tracker.find({"csg.kind": "ablation"})
    assert parent is not None
    fresh = tracker.read_children(parent)
    assert [(run.tags["csg.cell"], run.params["train.seed"]) for run in fresh] == [
        ("source only", "1"),
        ("weights", "1"),
    ]
    (table,) = (tmp_path / "runs" / "ablations").rglob("searched.csv")
    (traced,) = (tmp_path / "runs" / "ablations").rglob("searched.runs.json")
    assert [row.split(",")[0] for row in table.read_text().splitlines()] == ["cell", "source only", "weights"]
    for run in fresh:
        searches = [run for run in list_trials(tracker) if run.params["method.name"] == run.params["method.name"]]
        assert any(
            all(trial.params[name] == run.params[name] for name in ("optim.lr", "optim.backbone_lr_factor"))
            for trial in searches
        )
    assert json.loads(traced.read_text())
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    assert visda_comparison.main(command(tmp_path)) == 0
    assert "2 of 2 runs are on record" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in records} == records


def list_trials(tracker: Tracker) -> list[TrackedRun]:
    parent = tracker.find({"csg.kind": "search"})
    assert parent is not None
    return tracker.read_children(parent)
