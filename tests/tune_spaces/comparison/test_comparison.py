"""Comparisons: a search for each cell of a design, and a table of what they chose under fresh seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.parsing import parse_flags
from csg.tracking import TrackedRun, Tracker, get_default_tracking_uri
from tests.few_images import EXPERIMENT, few_images
from tests.stores import put_store_below
from tune_spaces import visda_comparison
from tune_spaces.comparison.comparison import ComparisonOptions, compare, make_options
from tune_spaces.comparison.own_searches import Chosen, make_searched_design, plan_own_search
from tune_spaces.designs.design import Cell, Design
from tune_spaces.designs.shipped import find_design
from tune_spaces.search.plan import Search, SearchOptions, plan_search
from tune_spaces.search.script import START

DESIGN = """
from tune_spaces.designs.design import Cell, Design
PAIR = Design(
    title="Two methods",
    base="source only",
    cells=(Cell("source only", {"method.name": "source_only"}), Cell("weights", {"method.name": "weight_l2"})),
)
"""


def command(folder: Path) -> list[str]:
    design = folder / "design.py"
    design.write_text(DESIGN)
    put_store_below(folder / "runs")
    return [
        *("--design", f"{design}:PAIR", "--trials", "2", "--seeds", "1", "--data.augmentation", "none", *few_images()),
        *("--data.source-images", "24", "--train.epochs", "1", "--train.batch-size", "8", "--train.threads", "1"),
        *("--concurrency", "1", "--train.output", str(folder / "runs")),
    ]


@pytest.mark.slow
def test_each_cell_is_searched_as_long_and_its_best_is_trained_under_fresh_seeds_once(
    in_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visda_comparison.main(command(tmp_path)) == 0
    said = capsys.readouterr().out
    assert "search 1 of 2, 2 trials" in said
    assert "search 2 of 2, 3 trials" in said, "whose reference is source only"
    tracker = Tracker(get_default_tracking_uri(str(tmp_path / "runs")), EXPERIMENT)
    parent = tracker.find({"csg.kind": "ablation"})
    assert parent is not None
    title = tracker.read(parent).tags["csg.title"]
    assert title == "Two methods, each at the best of 2 trials by target/val class_ami (protocol unlabelled)"
    (path,) = (tmp_path / "runs" / "ablations").rglob("searched.provenance.json")
    traced = json.loads(path.read_text())["cells"]
    for cell in ("source only", "weights"):
        (fresh,) = [run for run in tracker.read_children(parent) if run.tags["csg.cell"] == cell]
        best = tracker.read(next(iter(traced[f"{cell}:best"]["values"])))
        assert (best.params["train.seed"], fresh.params["train.seed"]) == (0, 1)
        assert select_settings(best) == select_settings(fresh)
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    assert visda_comparison.main(command(tmp_path)) == 0
    assert "2 of 2 runs are on record" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")} == records


def select_settings(run: TrackedRun) -> dict[str, Any]:
    return {name: value for name, value in run.params.items() if name.startswith(("method.", "optim.", "data."))}


def plan(design: Design, *flags: str) -> dict[str, Search]:
    chosen = parse_flags(ComparisonOptions, [*few_images(), *flags], prog="", description="")
    shared = make_options(chosen.options)
    return {cell.name: plan_own_search(chosen, cell, shared, 4, Console()) for cell in design.cells}


def test_what_neither_a_cell_nor_a_flag_sets_is_searched_in_as_many_trials_for_each(tmp_path: Path) -> None:
    searches = plan(find_design("methods", "folders"), "--optim.lr", "0.01", "--train.output", str(tmp_path))
    names = {cell: set(search.space.names) for cell, search in searches.items()}
    assert names["source only"] == {"optim.backbone_lr_factor", "data.augmentation"}
    assert all(names["source only"] <= searched for cell, searched in names.items() if cell != "CSG, PASTA")
    assert names["CSG"] - names["CSG, PASTA"] == {"data.augmentation"}
    assert searches["CSG, PASTA"].config.data.augmentation == "pasta"
    assert {"method.stages", "method.temperature"} <= names["CSG"] and "averaging.mixing" in names["CSG, WiSE-FT"]
    trials = {cell: search.options.num_samples - (search.reference is not None) for cell, search in searches.items()}
    assert set(trials.values()) == {4}
    assert {search.score_metric for search in searches.values()} == {"target/val/class_ami"}
    assert {search.confirmed for search in searches.values()} == {0}
    assert len({search.name for search in searches.values()}) == len(searches)


def test_a_search_of_the_search_script_is_the_same_one(tmp_path: Path) -> None:
    flags = [*few_images(), "--train.output", str(tmp_path), "--method.name", "miro"]
    argv = [*flags, "--num-samples", "5", "--confirm-top", "0"]
    alone = plan_search(parse_flags(SearchOptions, argv, prog="", description="", base=START), Console())
    cell = Cell("MIRO", {"method.name": "miro"})
    found = plan(Design("", (cell,), "MIRO"), "--train.output", str(tmp_path))
    assert found["MIRO"].name == alone.name


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--method.name", "csg"], "--method.name: this design sets it cell by cell"),
        (["--protocol", "held_out_source"], "cell 'frozen encoder' of the design: "),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    flags: list[str], said: str, tmp_path: Path
) -> None:
    chosen = parse_flags(
        ComparisonOptions, [*few_images(), "--train.output", str(tmp_path), *flags], prog="", description=""
    )
    design = find_design("methods", "folders", weights="none")
    with pytest.raises(UserError, match=said):
        compare(chosen, "methods", design, Console())
    assert not list(tmp_path.rglob("record.json"))


def test_a_cell_of_the_table_is_the_cells_own_settings_and_what_its_search_chose() -> None:
    design = Design(
        "Methods", (Cell("one", {"method.name": "csg"}), Cell("other", {"method.name": "miro"}, "one")), "one"
    )
    flags = parse_flags(ComparisonOptions, [*few_images()], prog="", description="")
    searches = {
        cell.name: plan_own_search(flags, cell, make_options(flags.options), 3, Console()) for cell in design.cells
    }
    best: dict[str, dict[str, Any]] = {"one": {"method.stages": "4", "optim.lr": 0.02}, "other": {"method.weight": 0.5}}
    runs = {
        name: TrackedRun("", name, "finished", {**chosen, "train.seed": 0}, {}, {}) for name, chosen in best.items()
    }
    found = make_searched_design(design, {n: Chosen(searches[n], runs[n], None) for n in best}, trials=3)
    assert [dict(cell.changes) for cell in found.cells] == [
        {"method.name": "csg", **best["one"]},
        {"method.name": "miro", **best["other"]},
    ]
    assert (found.base, found.cells[1].against) == ("one", "one")
