"""What a search may have found after so many trials, and which settings mattered in it."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.export_runs import export_runs
from analysis.figures.importance import draw_importance, estimate_importance
from analysis.figures.search_budget import BudgetCurve, compute_curves, draw_search_budget
from analysis.runs.comparable import NoDataError
from analysis.runs.run_table import RunTable, SearchRuns, read_runs
from analysis.runs.trials import read_scores
from csg.tracking import Tracker
from csg.training.score_words import Unit
from tests.analysis.figure_reading import words
from tests.analysis.made_up_experiment import search, write_experiment
from tests.analysis.made_up_search import NAMES, SCORE, made_up_run, made_up_search
from tests.stores import put_store_below

ACCURACY = "target/test/mean_class_accuracy"


def test_expected_best_is_the_mean_over_all_draws(table: RunTable, tmp_path: Path) -> None:
    small = write_experiment(search("csg-small", suggested=13), tmp_path)
    ((curve,), _) = compute_curves(small.list_searches())
    trials = [
        (run.metrics["selection/score"], run.metrics[ACCURACY])
        for run in small.runs
        if run.tags.get("csg.role") == "suggested" and run.status == "finished"
    ]
    assert curve.trials == len(trials) == 10 and [each.budget for each in curve.found] == list(range(1, 11))
    for each in curve.found:
        chosen = [max(draw) for draw in itertools.combinations(trials, each.budget)]
        assert each.score == pytest.approx(statistics.fmean(score for score, _ in chosen))
        assert each.outcome == pytest.approx(statistics.fmean(outcome for _, outcome in chosen))
    assert curve.band == ()
    caption = words(draw_search_budget(small.list_searches()))
    assert "TPE's trials are not independent draws" in caption and "No bands" in caption


def test_bands_end_at_a_tenth_of_the_trials(table: RunTable, figures: dict[str, Figure]) -> None:
    curves, _ = compute_curves(table.list_searches())
    assert [(curve.label, curve.trials) for curve in curves] == [("CSG", 30), ("ASG", 10)]
    assert [each.budget for each in curves[0].band] == [1, 2, 3] and curves[1].band == ()
    assert "up to a tenth of the trials" in words(figures["search_budget"])


def test_searches_of_one_method_are_told_apart_by_protocol_or_key(tmp_path: Path) -> None:
    runs = [*search("one"), *search("two"), *search("three")]
    oracle = [
        dataclasses.replace(run, params={"selection.protocol": "oracle"}) if run.run_id == "two-parent" else run
        for run in runs
    ]
    curves, _ = compute_curves(write_experiment(oracle, tmp_path).list_searches())
    assert [curve.label for curve in curves] == ["CSG, source (one)", "CSG, oracle", "CSG, source (three)"]
    with pytest.raises(NoDataError, match="no search has 8"):
        draw_search_budget([])
    with pytest.raises(NoDataError, match="no search has 8"):
        draw_search_budget(write_experiment(search("small", suggested=9), tmp_path / "small").list_searches())


@pytest.mark.slow
def test_importances_carry_intervals_where_asked_for() -> None:
    runs = made_up_search(30)
    plain, found = estimate_importance(runs, SCORE, NAMES), estimate_importance(runs, SCORE, NAMES, refits=12)
    assert plain.intervals == {} and found.values == plain.values
    assert found == estimate_importance(runs[::-1], SCORE, NAMES, refits=12), "the same each time"
    assert found.intervals.keys() == found.values.keys()
    assert all(0 <= interval.low <= interval.high <= 1 for interval in found.intervals.values())
    assert found.intervals["method.temperature"].low > found.intervals["optim.lr"].high, "it is what matters"
    (axes,) = draw_importance(found).axes
    lines = {tuple(np.asarray(line.get_xdata()).tolist()) for line in axes.lines}
    assert lines == {(interval.low, interval.high) for interval in found.intervals.values()}
    interval = found.intervals["method.temperature"]
    assert f"{found.values['method.temperature']:.2f} [{interval.low:.2f}, {interval.high:.2f}]" in words(axes.figure)  # type: ignore[arg-type]
    assert "the middle 95 % over 12 refits" in found.note


@pytest.mark.slow
def test_a_search_over_few_settings_has_an_importance_with_intervals() -> None:
    """One setting with values that few trials have: a resample in nine holds a single one, which explains nothing."""
    stages = ["3+4"] * 10 + ["4", "3"]
    runs = [made_up_run(n, {"method.stages": each}, [0.6 + n / 100]) for n, each in enumerate(stages)]
    found = estimate_importance(runs, SCORE, ["method.stages"], refits=40)
    assert found.values.keys() == found.intervals.keys() == {"method.stages"}


def test_an_exported_folder_compares_finished_trials_at_their_last_epoch_only(table: RunTable) -> None:
    (first, _) = table.list_searches()
    runs = read_scores(table, first)
    assert all(run.history[first.score] == {} for run in runs if run.status == "stopped")
    found = estimate_importance(runs, first.score, first.names)
    assert (found.epoch, found.trials) == (3, sum(run.status == "finished" for run in runs) - 1)


def test_histories_come_from_the_store_where_there_is_one(tmp_path: Path) -> None:
    uri = put_store_below(tmp_path)
    tracker = Tracker(uri, "glyphs")
    ids: list[str] = []
    for parent_tags in ({"csg.kind": "search", "csg.score": "score", "csg.search": "s"}, {}, {}):
        tags = parent_tags or {"mlflow.parentRunId": ids[0], "status": "stopped"}
        ids.append(tracker.client.create_run(tracker.experiment_id, tags=tags).info.run_id)
    for epoch, value in ((1, 0.5), (2, 0.6)):
        tracker.client.log_metric(ids[1], "score", value, step=epoch)
    known = SearchRuns(tracker.read(ids[0]), (tracker.read(ids[1]),))
    (run,) = read_scores(RunTable(uri, "glyphs", ()), known)
    assert run.history == {"score": {1: 0.5, 2: 0.6}}, "and none of a trial that the table left out"
    export_runs(read_runs(experiment="glyphs", tracking_uri=uri), tmp_path / "exported")
    again = read_runs(experiment="glyphs", tracking_uri="", exported=tmp_path / "exported")
    (search,) = again.list_searches()
    assert read_scores(again, search)[0].history == run.history, "and they travel with an export"


def test_a_curve_without_enough_trials_has_no_band() -> None:
    assert BudgetCurve("csg", Unit.of("source/val/accuracy"), 19, ()).band == ()
