"""The figures of a search say what happened in it, and never more."""

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.figures.importance import draw_importance, estimate_importance
from analysis.figures.parallel_coordinates import BEST_COLOUR, draw_parallel_coordinates, make_axes, scale_scores
from analysis.figures.parallel_page import STROKES, write_parallel_coordinates
from analysis.figures.search_figures import draw_optimisation_history, write_search_figures
from analysis.figures.style import GREY
from analysis.runs.names import name_setting
from analysis.runs.trials import find_best, list_trials
from csg.storage.disk import DiskPlace
from csg.tracking import TrackedRun
from csg.training.record import Status
from csg.training.selection import SELECTION_SCORE
from tests.analysis.figure_reading import words
from tests.analysis.made_up_search import NAMES, SCORE, made_up_run, made_up_search

FILES = [
    "optimisation_history.png",
    "parallel_coordinates.html",
    "parallel_coordinates.png",
    "parameter_importance.json",
    "parameter_importance.png",
]

HUMAN_NAMES = [name_setting(name) for name in NAMES]
HUMAN_SCORE = "mean class accuracy on real images (%)"


def planted(value: Callable[[np.ndarray], float], *, trials: int = 24, noise: float = 0.01) -> list[TrackedRun]:
    """Trials whose score is a function of (temperature, lr, backbone factor), each drawn between 0 and 1."""
    draw = np.random.default_rng(3)
    settings = draw.random((trials, 3)) * 0.9 + 0.1
    names = ["method.temperature", "optim.lr", "optim.backbone_lr_factor"]
    return [
        made_up_run(number, dict(zip(names, map(float, row), strict=True)), [value(row) + draw.normal(0, noise)])
        for number, row in enumerate(settings)
    ]


def offsets(figure: Figure, label: str) -> list[tuple[float, float]]:
    """Where the marks with this label in the legend stand."""
    (axes,) = figure.axes
    found = [c for c in axes.collections if isinstance(c, PathCollection) and c.get_label() == label]
    return [(float(x), float(y)) for c in found for x, y in np.asarray(c.get_offsets())]


def texts(axes: Axes) -> str:
    return " ".join(text.get_text() for text in axes.texts)


def test_a_finished_trial_stands_where_the_search_ranks_it_though_its_last_epoch_be_worse() -> None:
    """Under selection.epoch=best: of two trials the one that was best at an epoch is the best, and stands higher."""
    runs = [
        dataclasses.replace(
            made_up_run(number, {"optim.lr": number + 1.0}, scores), metrics={SELECTION_SCORE: max(scores)}
        )
        for number, scores in enumerate(([0.9, 0.6], [0.7, 0.7]))
    ]
    first, second = list_trials(runs, SCORE)
    assert (first.score, second.score) == (0.9, 0.7) and find_best([first, second]) is first
    assert scale_scores([first, second], SCORE) == [90.0, 70.0]
    assert offsets(draw_optimisation_history(runs, SCORE), "finished") == [(0, 90.0), (1, 70.0)]
    chosen = [dataclasses.replace(run, params={**run.params, "selection.epoch": "best"}) for run in runs]
    assert "Colour is the score at a trial's best epoch." in words(
        draw_parallel_coordinates(chosen, SCORE, ["optim.lr"])
    )
    (stopped,) = list_trials([dataclasses.replace(runs[0], status="stopped")], SCORE)
    assert stopped.score == 0.6, "it was not ranked"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda row: 0.5 + 0.2 * row[1], "optim.lr"),
        (lambda row: 0.8 - (row[2] - 0.5) ** 2, "optim.backbone_lr_factor"),
        (lambda row: 0.5 + 0.2 * row[0] + 0.02 * row[1], "method.temperature"),
    ],
)
def test_importance_finds_the_setting_that_matters(value: Callable[[np.ndarray], float], expected: str) -> None:
    found = estimate_importance(planted(value), SCORE, NAMES)
    assert next(iter(found.values)) == expected
    assert found.values[expected] > 0.6
    assert sum(found.values.values()) <= 1 + 1e-9
    assert found.r_squared is not None
    assert found.r_squared > 0.3
    assert (found.epoch, found.trials) == (1, 24)


def test_importance_says_when_there_is_nothing_but_noise() -> None:
    found = estimate_importance(planted(lambda row: 0.7, noise=0.02), SCORE, NAMES)
    weak = dataclasses.replace(found, r_squared=0.05)
    (axes,) = draw_importance(weak).axes
    assert {to_hex(bar.get_facecolor()) for bar in axes.patches} == {GREY.lower()}
    assert axes.get_title(loc="left").startswith("Noise: ")
    assert draw_importance(dataclasses.replace(found, r_squared=0.5)).axes[0].get_title(loc="left") == ""
    assert found.r_squared is not None
    assert found.r_squared < 0
    assert "read the bars as noise" in found.note


def test_importance_weighs_decades_alike_where_a_quantity_spans_them() -> None:
    draw = np.random.default_rng(5)
    runs = []
    for number in range(30):
        lr, factor = float(10 ** draw.uniform(-4, 0)), float(draw.uniform(0.1, 1))
        score = 0.5 + 0.1 * np.tanh(3 * (np.log10(lr) + 3)) + 0.03 * factor
        runs.append(made_up_run(number, {"optim.lr": lr, "optim.backbone_lr_factor": factor}, [float(score)]))
    assert estimate_importance(runs, SCORE, NAMES).values["optim.lr"] > 0.8


def test_importance_never_mixes_rungs() -> None:
    """Whatever lr does, a small backbone factor survives; pooling epochs would credit the factor with the training."""
    draw = np.random.default_rng(1)
    runs = []
    for number in range(24):
        lr, factor = (float(value) for value in draw.random(2))
        epochs = 3 if factor < 0.5 else 1
        scores = [0.4 + 0.1 * lr + 0.2 * epoch for epoch in range(epochs)]
        params = {"optim.lr": lr, "optim.backbone_lr_factor": factor}
        runs.append(made_up_run(number, params, scores, status="finished" if epochs == 3 else "stopped"))
    pooled = [dataclasses.replace(run, history={SCORE: {1: max(run.history[SCORE].values())}}) for run in runs]
    assert next(iter(estimate_importance(pooled, SCORE, NAMES).values)) == "optim.backbone_lr_factor"
    found = estimate_importance(runs, SCORE, NAMES)
    assert found.epoch == 3
    assert found.trials == sum(len(run.history[SCORE]) == 3 for run in runs)
    assert next(iter(found.values)) == "optim.lr"


def test_importance_compares_trials_of_any_length_at_the_same_share_of_it() -> None:
    """What lr does shows at every length, and longer trials score higher at equal epochs of theirs alone."""
    draw = np.random.default_rng(1)
    runs = []
    for number in range(24):
        lr, factor = (float(value) for value in draw.random(2))
        epochs = (2, 4, 8)[number % 3]
        scores = [0.4 + 0.1 * lr + 0.4 * (epoch + 1) / epochs for epoch in range(epochs)]
        params = {"optim.lr": lr, "optim.backbone_lr_factor": factor, "train.epochs": str(epochs)}
        runs.append(made_up_run(number, params, scores))
    found = estimate_importance(runs, SCORE, [*NAMES, "train.epochs"])
    assert (found.epoch, found.trials) == (8, 24) and "at 8/8 of each trial's epochs" in found.note
    assert next(iter(found.values)) == "optim.lr" and found.values["optim.lr"] > 0.9


def test_importance_takes_the_highest_epoch_that_eight_trials_reached() -> None:
    runs = planted(lambda row: 0.5 + 0.1 * row[0], trials=12)
    for number, run in enumerate(runs):
        run.history[SCORE] |= dict.fromkeys(range(2, {0: 5, 11: 2}.get(number, 4) + (number < 9)), 0.6 + number / 100)
    assert estimate_importance(runs, SCORE, NAMES).epoch == 4
    assert estimate_importance(runs, SCORE, NAMES).trials == 9


def test_importance_counts_neither_source_only_nor_scores_that_are_not_finite() -> None:
    runs = planted(lambda row: 0.5 + 0.1 * row[0], trials=9)
    runs[0].tags["csg.role"] = "source_only"
    runs[1].history[SCORE][1] = float("nan")
    found = estimate_importance(runs, SCORE, NAMES)
    assert (found.epoch, found.trials, found.values) == (None, 7, {})
    assert "needs at least 8" in found.note
    assert "the most is 7, at epoch 1" in found.note


def test_importance_leaves_conditional_and_constant_settings_out_and_says_so() -> None:
    runs = made_up_search(40)
    for run in runs:
        run.params["method.queue_size"] = 4096
    found = estimate_importance(runs, SCORE, NAMES)
    assert set(found.values) == {"method.stages", "method.temperature", "optim.lr", "optim.backbone_lr_factor"}
    assert "not set in every trial: stage 3 weight, stage 3 pooling." in found.note
    assert "the same in every trial: queue size." in found.note


def test_importance_is_deterministic_and_ignores_the_order_of_runs() -> None:
    runs = made_up_search(18)
    assert estimate_importance(runs, SCORE, NAMES) == estimate_importance(runs[::-1], SCORE, NAMES)


def test_equal_scores_have_no_importance() -> None:
    found = estimate_importance(planted(lambda row: 0.5, noise=0), SCORE, NAMES)
    assert found.values == {}
    assert "all have the same score" in found.note
    assert "same score" in texts(draw_importance(found).axes[0]).replace("\n", " ")


def test_history_tells_finished_stopped_and_failed_apart() -> None:
    runs = [
        made_up_run(0, {}, [0.5, 0.6]),
        made_up_run(1, {}, [0.9], status="stopped"),
        made_up_run(2, {}, [0.3, 0.5]),
        made_up_run(3, {}, [0.2], status="failed"),
        made_up_run(10, {}, [0.4, 0.7]),
    ]
    figure = draw_optimisation_history(runs[::-1], SCORE)
    (axes,) = figure.axes
    assert offsets(figure, "finished") == [(0, 60), (2, 50), (10, 70)]
    assert offsets(figure, "stopped early") == [(1, 90)]
    assert offsets(figure, "failed") == [(3, 0)]
    (best,) = [line for line in axes.lines if str(line.get_label()).startswith("best")]
    assert np.asarray(best.get_ydata()).tolist() == [60, 60, 70, 70]
    assert "mean class accuracy on real images (%)" in axes.get_ylabel()
    assert "oracle" in axes.get_ylabel()


def test_the_best_so_far_may_be_the_papers_configuration_but_not_source_only() -> None:
    runs = [made_up_run(0, {}, [0.9], role="source_only"), made_up_run(1, {}, [0.8], role="default")]
    (best,) = [line for line in draw_optimisation_history(runs, SCORE).axes[0].lines if "best" in str(line.get_label())]
    assert np.asarray(best.get_ydata()).tolist() == [80, 80]
    assert not [
        line for line in draw_optimisation_history(runs[:1], SCORE).axes[0].lines if "best" in str(line.get_label())
    ]


def test_history_names_the_references() -> None:
    assert texts(draw_optimisation_history(made_up_search(4), SCORE).axes[0]) == "source only default setting"


def test_parallel_coordinates_show_every_trial_conditional_settings_and_the_rung() -> None:
    runs = made_up_search(22)
    (axes,) = draw_parallel_coordinates(runs, SCORE, NAMES).axes
    lines = [collection for collection in axes.collections if collection.get_zorder() < 3]
    assert len(lines) == len(runs)
    shown = texts(axes).replace("\n", " ")
    for name in (*HUMAN_NAMES, "epoch reached", HUMAN_SCORE, "not set", "source only", "default setting", "2+3+4"):
        assert name in shown


def test_the_best_trial_stands_out_among_the_lines() -> None:
    runs = [
        made_up_run(number, {"optim.lr": 0.01 * (number + 1)}, [score]) for number, score in enumerate((0.5, 0.9, 0.7))
    ]
    runs.append(made_up_run(3, {"optim.lr": 0.1}, [0.95], status="stopped"))
    runs.append(made_up_run(4, {"optim.lr": 0.1}, [0.99], role="source_only"))
    (axes,) = draw_parallel_coordinates(runs, SCORE, ["optim.lr"]).axes
    lines = [each for each in axes.collections if isinstance(each, LineCollection) and each.get_zorder() < 3]
    (best,) = [line for line in lines if to_hex(np.asarray(line.get_edgecolor())[0]) == BEST_COLOUR.lower()]
    others = [line for line in lines if line is not best]
    assert best.get_zorder() > max(line.get_zorder() for line in others)
    assert np.max(best.get_linewidth()) > max(np.max(line.get_linewidth()) for line in others)
    assert "best: trial 1" in texts(axes) and "source only" in texts(axes)
    page = write_parallel_coordinates(runs, SCORE, ["optim.lr"])
    assert "Red, the best: trial 1." in page
    shown = read_trace(page)["line"]["color"]
    assert shown[1] == max(shown) and shown.count(max(shown)) == STROKES


def test_of_equal_trials_the_earliest_is_the_best_everywhere() -> None:
    runs = [
        made_up_run(1, {"optim.lr": 0.1}, [0.9], role="default"),
        *(made_up_run(number, {"optim.lr": 0.2}, [0.9]) for number in (2, 3)),
    ]
    assert "best: default setting" in texts(draw_parallel_coordinates(runs, SCORE, ["optim.lr"]).axes[0])


def test_a_setting_that_no_trial_has_is_no_axis() -> None:
    trials = list_trials([made_up_run(0, {"optim.lr": 0.1}, [0.5])], SCORE)
    assert make_axes(trials, SCORE, ["method.stage2.weight", "optim.lr"])[0].name == "learning rate"


def test_what_is_searched_logarithmically_is_drawn_so_over_less_than_two_decades() -> None:
    runs = [made_up_run(number, {"optim.lr": lr}, [0.5]) for number, lr in enumerate((0.01, 0.02, 0.04))]
    trials = list_trials(runs, SCORE)
    assert make_axes(trials, SCORE, ["optim.lr"], ["optim.lr"])[0].positions == pytest.approx([0, 0.5, 1])
    assert make_axes(trials, SCORE, ["optim.lr"])[0].positions == pytest.approx([0, 1 / 3, 1])


def read_trace(page: str) -> dict[str, Any]:
    """What the page gives to plotly."""
    (found,) = re.findall(r'Plotly\.newPlot\(\s*"parallel-coordinates",\s*(\[.*?\]),\s*\{"template"', page, re.DOTALL)
    trace: dict[str, Any] = json.loads(found)[0]
    return trace


def test_the_page_needs_no_network_and_offers_no_upload() -> None:
    page = write_parallel_coordinates(made_up_search(5), SCORE, NAMES, title="A <b> & $5")
    assert not re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)\s*=", page.partition("/**")[0])
    assert not re.findall(r"<script[^>]*\bsrc=", page)
    assert "plotly.js v" in page
    assert '"showSendToCloud": false' in page
    assert "<title>A &lt;b&gt; &amp; $5</title>" in page


def test_the_page_holds_every_trial_on_every_axis() -> None:
    runs = made_up_search(22)
    axes = read_trace(write_parallel_coordinates(runs, SCORE, NAMES))["dimensions"]
    labels = [str(axis["label"]).replace("<br>", " ").replace("&#x27;", "'") for axis in axes]
    assert labels == [HUMAN_SCORE, "epoch reached", *HUMAN_NAMES, "trial"]
    for axis in axes:
        values, ticks, texts = axis["values"], axis["tickvals"], axis["ticktext"]
        assert isinstance(values, list)
        assert isinstance(ticks, list)
        assert isinstance(texts, list)
        assert len(values) == len(runs) + STROKES - 1, "the best trial has several lines, next to each other"
        assert len(set(values) - set(ticks)) == STROKES - 1, "plotly selects from tick to tick"
        assert len(set(texts)) == len(texts) == len(ticks), "plotly takes equal texts for one tick"


def ended(runs: Sequence[TrackedRun], status: Status, scores: dict[int, float]) -> list[TrackedRun]:
    """The same trials, had they all ended like this."""
    return [dataclasses.replace(run, status=status, history={SCORE: scores}) for run in runs]


@pytest.mark.parametrize(
    "runs",
    [
        [],
        made_up_search(0)[:1],
        made_up_search(0),
        made_up_search(1)[2:],
        ended(made_up_search(3), "failed", {}),
        ended(made_up_search(10), "stopped", {1: 0.5}),
        [made_up_run(number, {}, [0.5, float("nan")]) for number in range(9)],
        [made_up_run(0, {}, [], status="running")],
    ],
    ids=["none", "one reference", "references", "one", "all failed", "all stopped", "not finite", "running"],
)
def test_a_tiny_search_has_all_its_files(runs: list[TrackedRun], tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    paths = write_search_figures(runs, score=SCORE, names=NAMES, title="Tiny: $5 {", folder=DiskPlace(folder))
    assert sorted(path.local.name for path in paths) == FILES == sorted(path.name for path in folder.iterdir())
    assert all(path.local.stat().st_size > 0 for path in paths)
    found = json.loads((folder / "parameter_importance.json").read_text())
    assert found["values"] == {}
    assert found["note"].startswith("No importance")


@pytest.mark.slow
def test_the_same_search_gives_the_same_files(tmp_path: Path) -> None:
    first, second = (
        write_search_figures(
            made_up_search(14), score=SCORE, names=NAMES, title="Twice", folder=DiskPlace(tmp_path / name)
        )
        for name in ("first", "second")
    )
    for one, other in zip(first, second, strict=True):
        assert one.local.read_bytes() == other.local.read_bytes(), one


def test_runs_that_are_no_trials_are_left_out() -> None:
    stranger = dataclasses.replace(made_up_run(0, {}, [0.99]), tags={})
    assert offsets(draw_optimisation_history([stranger, made_up_run(1, {}, [0.5])], SCORE), "finished") == [(1, 50)]
