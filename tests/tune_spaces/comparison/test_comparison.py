"""Comparisons: a search for each cell of a design, and a table of the winners under fresh seeds."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from csg.config.settings import flatten
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.exit_codes import RunsFailedError
from csg.parsing import Flags, parse_flags, to_yaml
from csg.tracking import TrackedRun, Tracker, get_default_tracking_uri
from csg.training.identity import compute_config_id
from tests import warm
from tests.few_images import EXPERIMENT, few_images
from tests.stores import put_store_below
from tests.tune_spaces.ablation.test_ablation import DESIGN
from tune_spaces import visda_comparison
from tune_spaces.comparison.cell_search import Winner
from tune_spaces.comparison.comparison import ComparisonOptions, plan_comparison, plan_fresh_runs
from tune_spaces.designs.design import Cell, Design
from tune_spaces.designs.shipped import choose_design, make_shipped_designs
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import Search, plan_search

ROOT = Path(__file__).parents[3]
SOURCE_ONLY = Cell("source only", {"method.name": "source_only"})
CSG = Cell("CSG", {"method.name": "csg"})


def command(folder: Path) -> list[str]:
    design = folder / "design.py"
    design.write_text(DESIGN)
    put_store_below(folder / "runs")
    return [
        *("--design", f"{design}:PAIR", "--num-samples", "2", "--seeds", "1", "--data.augmentation", "none"),
        *(*few_images(), "--data.source-images", "24", "--train.epochs", "1", "--train.batch-size", "8"),
        *("--train.checkpoint-minutes", "0", "--concurrency", "1", "--train.output", str(folder / "runs")),
    ]


@pytest.mark.slow
def test_winners_of_as_long_searches_are_trained_under_fresh_seeds_once_whatever_interrupts_it(
    in_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [sys.executable, str(ROOT / "tune_spaces" / "visda_comparison.py"), *command(tmp_path)]
    assert visda_comparison.main([*command(tmp_path), "--plan"]) == 0
    said = capsys.readouterr().out
    assert said.count(" missing\n") == 2 and "Missing trials: 5; no finished trial to go by yet" in said
    assert not list(tmp_path.rglob("record.json"))
    with warm.Popen(words, stdout=warm.PIPE, cwd=tmp_path) as process:
        while not list(tmp_path.glob("runs/trained/*/selected.pt")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        said = process.stdout.read()
        assert process.wait() == 130, said
    assert "The same command goes on with it" in said
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("selected.pt")}
    assert before

    assert visda_comparison.main(command(tmp_path)) == 0
    said = capsys.readouterr().out
    assert "search 1 of 2, 2 trials" in said
    assert "search 2 of 2, 3 trials" in said, "whose reference is source only"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    uri = get_default_tracking_uri(str(tmp_path / "runs"))
    tracker, searches = Tracker(uri, EXPERIMENT), Tracker(uri, f"{EXPERIMENT}-tuning")
    parent = tracker.find({"csg.kind": "ablation"})
    assert parent is not None and tracker.find({"csg.kind": "search"}) is None
    assert tracker.read(parent).tags["csg.title"] == (
        "Two methods, each at the best of 2 trials by target/val class_ami (protocol unlabelled, 5 target queries, "
        "without labels)"
    )
    (path,) = (tmp_path / "runs" / "ablations").rglob("winners.provenance.json")
    traced = json.loads(path.read_text())["cells"]
    for cell in ("source only", "weights"):
        (fresh,) = [run for run in tracker.read_children(parent) if run.tags["csg.cell"] == cell]
        best = searches.read(next(iter(traced[f"{cell}:best"]["values"])))
        assert (best.params["train.seed"], fresh.params["train.seed"]) == (0, 1)
        assert best.tags["config_id"] == fresh.tags["config_id"]
    assert len(list((tmp_path / "runs" / "searches").rglob("best.yaml"))) == 2

    assert visda_comparison.main([*command(tmp_path), "--plan"]) == 0
    said = capsys.readouterr().out
    assert "2 of 2 trials ended" in said and "3 of 3 trials ended" in said
    assert "Missing trials: 0; at most 0 minutes" in said
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    assert visda_comparison.main(command(tmp_path)) == 0
    assert "2 of 2 runs are on record" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")} == records


def read(*argv: str) -> Flags[ComparisonOptions]:
    return parse_flags(ComparisonOptions, [*few_images(), "--num-samples", "4", *argv], prog="", description="")


def plan(design: Design, *argv: str) -> dict[str, Search]:
    return plan_comparison(read(*argv), design, Console())


def shipped(*argv: str) -> Design:
    return choose_design("methods", read(*argv).config)[1]


def win(search: Search, settings: Mapping[str, Any], *, seed: int = 0) -> Winner:
    """Make up the winner of a search from its values of what was searched, the others being the default's."""
    point = search.space.make_point(search.base, settings)
    return Winner(search, TrackedRun("", "won", "finished", {**point, "train.seed": seed}, {}, {}), None, looks=7)


def test_what_neither_a_cell_nor_a_flag_sets_is_searched_in_as_many_trials_for_each() -> None:
    searches = plan(shipped(), "--optim.lr", "0.01")
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


def test_every_method_has_a_row_at_the_defaults_and_one_to_be_searched() -> None:
    designs = make_shipped_designs("glyphs")
    methods = [{cell.changes["method.name"] for cell in designs[name].cells} for name in ("rivals", "methods")]
    assert methods[0] == methods[1]
    free = {name for cell in designs["methods"].cells for name in cell.changes}
    assert free == {"method.name", "averaging.name", "data.augmentation"}


def test_flags_of_one_method_do_not_hold_what_is_searched_of_another() -> None:
    design = Design("", (SOURCE_ONLY, CSG, Cell("l2", {"method.name": "weight_l2"})), "source only")
    searches = plan(design, "--method.temperature", "0.2", "--method.weight", "0.5")
    assert "method.temperature" not in searches["CSG"].space.names
    assert searches["CSG"].base["method.temperature"] == 0.2
    assert "method.weight" in searches["l2"].space.names


def test_a_search_of_the_search_script_is_the_same_one() -> None:
    cell = Cell("MIRO", {"method.name": "miro"})
    found = plan(Design("", (cell,), "MIRO"))["MIRO"]
    argv = [*few_images(), "--method.name", "miro", "--num-samples", "5", "--experiment", found.experiment]
    alone = plan_search(parse_flags(SearchOptions, argv, prog="", description=""), Console())
    assert (found.name, found.folder) == (alone.name, alone.folder)


@pytest.mark.parametrize(
    ("cells", "argv", "said"),
    [
        ([], ["--method.name", "csg"], r"--method\.name: this design sets it cell by cell"),
        (
            [],
            ["--protocol", "held_out_source"],
            r"cell 'source only' of the design: selection\.protocol: .* expects several, found one",
        ),
        ([], ["--train.seed", str(2**32 - 5)], r"train\.seed: expected at least 0 and less than 4,294,967,296"),
        ([Cell("again", {"method.name": "csg"})], [], "found one search in 'CSG' and 'again'"),
        ([Cell("third", {"train.seed": 3})], [], "found one that sets train.seed"),
        (
            [Cell("other", {"method.name": "csg", "selection.validator": "bnm"})],
            [],
            r"found target/val/class_ami of 'source only' and target/val/bnm of 'other'",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    cells: list[Cell], argv: list[str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        plan(Design("", (SOURCE_ONLY, CSG, *cells), "source only"), *argv)


def test_fresh_runs_are_the_winners_as_their_searches_trained_them(tmp_path: Path) -> None:
    written = tmp_path / "best.yaml"
    written.write_text(to_yaml(read("--method.stage3.weight", "0.4", "--method.stage4.weight", "0.6").config))
    argv = ["--config", str(written), "--protocol", "source", "--selection.epoch", "best", "--seeds", "2"]
    design = Design("Methods", (SOURCE_ONLY, CSG, Cell("l2", {"method.name": "weight_l2"}, "CSG")), "source only")
    searches = plan(design, *argv)
    chosen: dict[str, dict[str, Any]] = {
        "source only": {"optim.lr": 0.02},
        "CSG": {"method.stages": "4", "method.stage4.weight": 0.3},
        "l2": {},
    }
    winners = {cell: win(searches[cell], settings) for cell, settings in chosen.items()}
    fresh = plan_fresh_runs(read(*argv), "PAIR", design, winners)
    assert [(run.cell.name, run.config.train.seed) for run in fresh.runs] == [
        (cell, seed) for seed in (1, 2) for cell in chosen
    ]
    one, csg, l2 = (run.config for run in fresh.runs[:3])
    assert {config.selection.protocol for config in (one, csg, l2)} == {"source"}
    assert {config.selection.epoch for config in (one, csg, l2)} == {"best"}
    flat = flatten(csg)
    assert (flat["method.stages"], flat["method.stage4.weight"], flat["method.stage3.weight"]) == ("4", 0.3, None)
    for cell, config in zip(chosen, (one, csg, l2), strict=True):
        assert compute_config_id(config) == compute_config_id(winners[cell].configure(0))
    assert fresh.design.comparisons == {"source only": "source only", "CSG": "source only", "l2": "CSG"}
    assert fresh.design.title == (
        "Methods, each at the best of 4 trials by source/val mean class accuracy (protocol source, 21 target queries)"
    )


def test_cells_whose_searches_chose_the_same_are_one_row_and_a_cell_without_a_winner_is_none() -> None:
    pasta = Cell("CSG, PASTA", {"method.name": "csg", "data.augmentation": "pasta"}, "CSG")
    l2 = Cell("l2", {"method.name": "weight_l2"}, "CSG, PASTA")
    design = Design("Methods", (SOURCE_ONLY, CSG, pasta, l2), "source only")
    searches = plan(design)
    winners = {
        "source only": win(searches["source only"], {}),
        "CSG": win(searches["CSG"], {"data.augmentation": "pasta"}),
        "CSG, PASTA": win(searches["CSG, PASTA"], {}),
        "l2": win(searches["l2"], {}),
    }
    both = "CSG = CSG, PASTA"
    found = plan_fresh_runs(read("--seeds", "1"), "PAIR", design, winners)
    assert found.design.comparisons == {"source only": "source only", both: "source only", "l2": both}
    assert [run.cell.name for run in found.runs] == ["source only", both, "l2"]
    del winners["CSG"], winners["CSG, PASTA"]
    fewer = plan_fresh_runs(read("--seeds", "1"), "PAIR", design, winners)
    assert fewer.design.comparisons == {"source only": "source only", "l2": "source only"}
    del winners["source only"]
    with pytest.raises(RunsFailedError, match="no trial of 'source only' has a score; it failed"):
        plan_fresh_runs(read("--seeds", "1"), "PAIR", design, winners, failures=["it failed"])


def test_another_search_is_another_comparison_whatever_it_chose() -> None:
    design = Design("Methods", (SOURCE_ONLY,), "source only")
    keys = {
        plan_fresh_runs(read(*argv), "PAIR", design, {"source only": win(plan(design, *argv)["source only"], {})}).key
        for argv in ([], ["--protocol", "source"], ["--num-samples", "6"])
    }
    assert len(keys) == 3
