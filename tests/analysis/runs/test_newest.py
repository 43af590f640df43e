"""What has no finished run replaces nothing: neither in tables nor in figures, and it is spoken of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis import motivating_example
from analysis.figures.paper import plan_figures
from analysis.figures.sensitivity import draw_sensitivity
from analysis.figures.style import RunFigure
from analysis.runs.run_table import RunTable
from analysis.tables.paper import make_tables
from analysis.tables.table import Table
from csg.tracking import TrackedRun
from csg.training.record import Status
from tests.analysis.figure_reading import output_of, words
from tests.analysis.made_up_experiment import CSG, SOURCE_ONLY, ablation, finished_run, search, write_experiment

NOTHING_STORED = Path(__file__).parent
NEWER = "Newer, but without a finished run, and not shown here: "
COMPONENTS = ablation("components", {"source only": SOURCE_ONLY, "+ A-pool": CSG}, seeds=3, lifts=(0.0, 0.05))
TEMPERATURE = ablation(
    "temperature",
    {f"tau {each:g}": CSG | {"method.temperature": each} for each in (0.03, 0.07, 0.2)},
    seeds=2,
    lifts=(0.0, 0.05, 0.02),
)
EXAMPLE = ablation(
    "motivating_example",
    {"ImageNet weights": {"method.name": "oracle_imagenet"}, "trained on real": SOURCE_ONLY},
    seeds=2,
    lifts=(0.0, 0.1),
)


def again(runs: list[TrackedRun], version: str, status_of: Callable[[int], Status | None]) -> list[TrackedRun]:
    """The same ablation once more under another key, with the status that ``status_of`` gives each run by its place."""
    parent = runs[0]
    key = f"{parent.params['design']}-{version}"
    tags = {**parent.tags, "csg.ablation": key}
    made = [dataclasses.replace(parent, run_id=f"{key}-parent", name=key, tags=tags)]
    for place, run in enumerate(runs[1:]):
        status = status_of(place)
        if status is not None:
            own = {**run.tags, "mlflow.parentRunId": made[0].run_id, "csg.run": f"{key}-{place}", "status": status}
            metrics = run.metrics if status == "finished" else {}
            made.append(
                dataclasses.replace(run, run_id=f"{key}-{place}", status=status, tags=own, metrics=dict(metrics))
            )
    return made


def tables_by_name(*runs: TrackedRun, main: str = "") -> dict[str, Table]:
    made, refused = make_tables(RunTable(str(NOTHING_STORED), "glyphs", tuple(runs)), main=main)
    assert not refused
    return {each.name: each for each in made}


def numbers(table: Table) -> list[str]:
    return list(table.to_frame().iloc[:, 0])


@pytest.fixture(params=["failed", "interrupted", "running", None])
def empty(request: pytest.FixtureRequest) -> list[TrackedRun]:
    return again(COMPONENTS, "1", lambda _: request.param)


@pytest.mark.parametrize("name", ["main_comparison", "per_class", "diversity"])
def test_an_ablation_without_a_finished_run_replaces_no_table(empty: list[TrackedRun], name: str) -> None:
    alone, both = tables_by_name(*COMPONENTS), tables_by_name(*COMPONENTS, *empty)
    assert both[name].cells.equals(alone[name].cells) and numbers(both[name]) == ["3", "3"]
    assert both[name].caption == f"{alone[name].caption} {NEWER}components-1."
    same = [each["ablation_components"].to_markdown() for each in (both, alone)]
    assert same[0] == same[1], "nor does it take a name away"
    assert set(numbers(both["ablation_components-1"])) <= {"0", "0 of 3"}


def test_rivals_without_a_finished_run_do_not_replace_another_design(empty: list[TrackedRun]) -> None:
    rivals = [dataclasses.replace(empty[0], params={"design": "rivals"}), *empty[1:]]
    made = tables_by_name(*COMPONENTS, *rivals)
    assert numbers(made["main_comparison"]) == ["3", "3"] and f"{NEWER}components-1." in made["main_comparison"].caption


@pytest.mark.parametrize(("main", "expected"), [("components", ["3", "3"]), ("components-1", ["0 of 3", "0 of 3"])])
def test_a_design_means_its_newest_with_runs_and_a_key_itself(main: str, expected: list[str]) -> None:
    failed = again(COMPONENTS, "1", lambda _: "failed")
    assert numbers(tables_by_name(*COMPONENTS, *failed, main=main)["main_comparison"]) == expected


def test_a_newer_one_with_finished_runs_is_shown_and_says_that_an_older_one_has_more() -> None:
    part = again(COMPONENTS, "1", lambda place: "finished" if place == 0 else "failed")
    table = tables_by_name(*COMPONENTS, *part)["main_comparison"]
    assert numbers(table) == ["1 of 3", "0 of 3"]
    assert table.caption.endswith(
        "Not complete: components-1 has 1 finished run in 1 of 2 cells, the older components-0 6 finished runs in 2 of "
        "2 cells."
    )
    complete = again(COMPONENTS, "1", lambda _: "finished")
    caption = tables_by_name(*COMPONENTS, *complete)["main_comparison"].caption
    assert "Not complete" not in caption and "Newer" not in caption


def test_where_nothing_has_finished_the_newest_is_shown() -> None:
    first, second = (again(COMPONENTS, version, lambda _: "failed") for version in "12")
    made = tables_by_name(*first, *second)
    assert numbers(made["main_comparison"]) == ["0 of 3", "0 of 3"] and "Newer" not in made["main_comparison"].caption
    assert {"ablation_components-1", "ablation_components-2"} <= set(made)


def test_figures_keep_their_names_and_the_empty_one_is_skipped_with_the_reason(tmp_path: Path) -> None:
    table = write_experiment([*COMPONENTS, *again(COMPONENTS, "1", lambda _: "failed")], tmp_path)
    made = plan_figures(table)
    assert isinstance(made["features_components"](), RunFigure)
    with pytest.raises(ValueError, match="no run has finished"):
        made["features_components-1"]()


@pytest.mark.parametrize("finished", [0, 1])
def test_a_curve_is_not_replaced_by_less_than_a_curve(tmp_path: Path, finished: int) -> None:
    newer = again(TEMPERATURE, "1", lambda place: "finished" if place < finished else "failed")
    table = write_experiment([*TEMPERATURE, *newer], tmp_path, features=False)
    figure = draw_sensitivity(table.list_ablations(), [])
    assert {run.run_id for run in figure.runs} == {run.run_id for run in TEMPERATURE[1:]}
    assert (f"{NEWER}temperature-1." in words(figure)) == (finished == 0)


def test_the_motivating_example_stays_and_names_the_newer_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_experiment([*EXAMPLE, *again(EXAMPLE, "1", lambda _: "failed")], tmp_path)
    said = output_of(motivating_example.main, ["--runs", tmp_path, "--out", tmp_path / "figures"], capsys)
    assert "(2 seeds)" in said and "no finished run" not in said
    assert f"{NEWER}motivating_example-1." in said


def test_a_commit_leaves_out_what_was_run_at_others() -> None:
    """Parents whose runs are all of others go too, and so do runs that belong to no search and no ablation."""

    def at_c1(run: TrackedRun) -> TrackedRun:
        return dataclasses.replace(run, tags={**run.tags, "commit": "c1"})

    lone = finished_run("lone", SOURCE_ONLY, np.random.default_rng(0), tags={"csg.kind": "run"})
    newer = again(COMPONENTS, "1", lambda _: "failed")
    runs = (*COMPONENTS, newer[0], *map(at_c1, [*newer[1:], lone]))
    kept = RunTable("nowhere", "glyphs", runs).keep_commit("c0")
    assert [each.key for each in kept.list_ablations()] == ["components-0"]
    assert {run.run_id for run in kept.runs} == {run.run_id for run in COMPONENTS}


def elsewhere(runs: list[TrackedRun], folder: str) -> list[TrackedRun]:
    """The same ablation or search once more, below another output folder: its key is the same."""
    made = []
    for run in runs:
        tags = {**run.tags, "csg.folder": folder}
        if "mlflow.parentRunId" in tags:
            tags["mlflow.parentRunId"] += folder
        made.append(dataclasses.replace(run, run_id=f"{run.run_id}{folder}", tags=tags))
    return made


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_ablations_and_searches_of_one_key_get_files_of_their_own(status: Status, tmp_path: Path) -> None:
    other = elsewhere(again(COMPONENTS, "0", lambda _: status), "other")
    found = search("s-1")
    searches = [*found, *elsewhere(found, "other")]
    names = {"ablation_components-0", "ablation_components-0-2"}
    if status == "failed":
        names = {"ablation_components", "ablation_components-0-2"}
    made = tables_by_name(*COMPONENTS, *other, *searches)
    assert {name for name in made if name.startswith("ablation")} == names
    assert list(made["search_summary"].cells.index) == ["s-1", "s-1-2"]
    figures = plan_figures(RunTable(str(tmp_path), "glyphs", (*COMPONENTS, *other, *searches)))
    assert {name for name in figures if name.startswith("importance")} == {"importance_s-1", "importance_s-1-2"}
    assert {name.replace("features", "ablation") for name in figures if name.startswith("features")} == names
