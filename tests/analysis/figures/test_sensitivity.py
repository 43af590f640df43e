"""Curves come from ablations of one setting, points from searches."""

from __future__ import annotations

import dataclasses
import statistics

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from analysis.figures.sensitivity import SWEEPS, draw_sensitivity, make_curve
from analysis.figures.style import set_log_ticks
from analysis.runs.comparable import MixedRunsError, NoDataError
from analysis.runs.run_table import RunTable
from tests.analysis.figure_reading import changed, named, retagged, words

ACCURACY = "target/test/mean_class_accuracy"
TEMPERATURE, WEIGHT = SWEEPS["method.temperature"], SWEEPS["method.stage*.weight"]


def test_a_sensitivity_curve_is_the_mean_over_seeds_with_its_t_interval(table: RunTable) -> None:
    swept = named(table, "temperature")
    curve = make_curve(swept, TEMPERATURE)
    assert curve is not None
    assert list(curve.points) == [0.01, 0.03, 0.07, 0.2, 0.5]
    for name, (value, found) in zip(swept.comparisons, curve.points.items(), strict=True):
        accuracies = [100 * run.metrics[ACCURACY] for run in swept.get_cell(name)]
        assert name == f"tau {value:g}" and found.n == 5
        assert found.mean == pytest.approx(statistics.fmean(accuracies))
        low, high = stats.t.interval(0.95, 4, found.mean, stats.sem(accuracies))
        assert found.interval is not None
        assert (found.interval.low, found.interval.high) == pytest.approx((low, high))


def test_only_an_ablation_of_that_setting_alone_makes_a_curve(table: RunTable) -> None:
    assert make_curve(named(table, "components"), TEMPERATURE) is None
    assert make_curve(named(table, "weight"), TEMPERATURE) is None
    curve = make_curve(named(table, "weight"), WEIGHT)
    assert curve is not None and curve.names == ("method.stage3.weight", "method.stage4.weight")
    unlike = changed(
        table,
        lambda run: dataclasses.replace(run, params={**run.params, "method.stage3.weight": 0.5}) if run.params else run,
    )
    single = make_curve(named(unlike, "weight"), WEIGHT)
    assert single is not None and single.names == ("method.stage4.weight",)


def test_sensitivity_shows_curves_and_the_comparable_trials_of_searches(table: RunTable) -> None:
    figure = draw_sensitivity(table.list_ablations(), table.list_searches())
    (left, right) = figure.axes
    trials = [run for run in table.runs if "csg.trial" in run.tags and run.status == "finished"]
    having = [run for run in trials if "method.temperature" in run.params]
    (points,) = left.collections
    drawn = sorted(map(tuple, np.asarray(points.get_offsets()).tolist()))
    assert drawn == sorted((run.params["method.temperature"], 100 * run.metrics[ACCURACY]) for run in having)
    assert [text.get_text() for text in right.get_legend().get_texts()] == [  # type: ignore[union-attr]
        *("search, stage 3", "search, stage 4", "ablation, stages alike"),
    ]
    other = changed(table, lambda run: retagged(run, commit="c1") if "csg.trial" in run.tags else run)
    apart = draw_sensitivity(other.list_ablations(), other.list_searches())
    assert not apart.axes[0].collections and f"{len(having)} runs of other commits" in words(apart)
    assert "are not a curve" not in words(apart)


def test_a_newer_ablation_that_makes_no_curve_is_named_and_hides_no_older_one(table: RunTable) -> None:
    old = named(table, "temperature")
    cells = list(old.comparisons)
    for begun in (1, 2):
        runs = [
            dataclasses.replace(run, run_id=f"{run.run_id}-new") for cell in cells[:begun] for run in old.get_cell(cell)
        ]
        newer = dataclasses.replace(
            old,
            parent=dataclasses.replace(
                old.parent, run_id="newer", tags={**old.parent.tags, "csg.ablation": "temperature-1"}
            ),
            runs=tuple(runs),
        )
        said = words(draw_sensitivity([old, newer], []))
        note = "Newer, but without two finished values to draw, and not shown here: temperature-1."
        assert (note in said) == (begun == 1), "two values make a curve of their own"


def test_sensitivity_without_two_values_or_with_mixed_runs_is_not_drawn(table: RunTable) -> None:
    with pytest.raises(NoDataError, match="no two values of temperature"):
        draw_sensitivity([named(table, "components")], [])
    seeds = changed(table, lambda run: retagged(run, commit="c1") if run.params.get("train.seed") == 1 else run)
    with pytest.raises(MixedRunsError, match=r"temperature-0: .*more than one commit"):
        draw_sensitivity([named(seeds, "temperature")], [])


@pytest.mark.parametrize(("low", "high", "ticks"), [(0.01, 1.0, [0.01, 0.1, 1.0]), (0.75, 0.986, [0.75, 0.986])])
def test_a_logarithmic_axis_always_has_numbers(low: float, high: float, ticks: list[float]) -> None:
    axes = Figure().add_subplot()
    set_log_ticks(axes, low, high)
    assert list(axes.get_xticks()) == pytest.approx(ticks)
