"""Tables and figures of segmentation: its own figures and words, and never together with classification's."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from analysis import export_runs, paper_figures, report
from analysis.figures.paper import plan_figures
from analysis.figures.pictures import CLASS_COLOURS, VOID, choose_runs, draw_attention, draw_pictures
from analysis.inference.bootstrap import mean_iou_bootstrap
from analysis.runs.comparable import MixedRunsError
from analysis.runs.provenance import write_command
from analysis.runs.run_table import RunTable, read_runs
from analysis.tables.comparisons import make_ablation_table, make_class_table, make_main_comparison
from analysis.tables.paper import make_tables
from analysis.tables.table import Table
from csg.messages.errors import UserError
from csg.metrics.iou import mean_iou
from csg.parsing import build_config, find_recipe, read_yaml
from csg.storage.disk import DiskPlace
from csg.storage.layout import PICTURES
from csg.tracking import TrackedRun, Tracker
from csg.training.identity import resolve_settings
from tests.analysis.figure_reading import changed, words
from tests.analysis.made_up_experiment import ablation, search
from tests.analysis.made_up_scenes import CLASSES, compose_scenes, confusions, pictures, write_scenes
from tests.stores import put_store_below

REAL = "target/test/mean_iou"
DICHROMATS = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
)
"""What linear RGB looks like to normal, protan, deutan and tritan eyes (Machado et al., 2009, severity 1)."""


@pytest.fixture(scope="module")
def scenery(tmp_path_factory: pytest.TempPathFactory) -> RunTable:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "runs")


def rows(table: Table) -> dict[str, dict[str, str]]:
    return {row[table.cells.columns.name]: row for row in csv.DictReader(table.to_csv().splitlines())}


def test_tables_of_segmentation_show_mean_iou_pixel_accuracy_and_iou_by_class(scenery: RunTable) -> None:
    (rivals,) = scenery.list_ablations()
    values = [100 * run.metrics[REAL] for run in rivals.get_cell("CSG")]
    text = f"{statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f}"
    made = make_ablation_table(rivals)
    assert list(made.cells)[1:3] == ["real mean IoU %", "Δ [95 % interval]"] and "real pixel accuracy %" in made.cells
    assert rows(made)["CSG"]["real mean IoU %"].strip("†") == text
    assert "Real mean IoU, pixel accuracy and energies on" in made.caption and "IoU: of all pixels" in made.caption
    main = make_main_comparison(scenery, rivals)
    assert rows(main)["CSG"]["mean IoU %"] == text and "interval of the mean IoU" in main.caption
    low, high = (float(end) for end in rows(main)["CSG"]["over images %"].strip("[]").split(", "))
    counts = [
        outputs.confusions for run in rivals.get_cell("CSG") if (outputs := scenery.read_outputs(run)) is not None
    ]
    assert low < 100 * mean_iou_bootstrap(np.stack([each for each in counts if each is not None])).value < high
    classes = make_class_table(rivals)
    assert classes.title == "Rivals: IoU by class, %" and sorted(CLASSES) == list(classes.cells)[1:]
    assert rows(classes)["CSG"]["sky"].startswith("20.0")
    everything = " ".join(table.to_markdown() for table in make_tables(scenery)[0])
    assert "class accuracy" not in everything and "Wilson" not in everything
    assert "| real mean IoU % | source only % | gain |" in everything
    assert "Spearman's rank correlation of score and real mean IoU" in everything


def test_mean_iou_is_bootstrapped_over_summed_confusions() -> None:
    counts = np.stack([confusions(seed, 0.7) for seed in (0, 1)]).astype(np.int64)
    found = mean_iou_bootstrap(counts)
    measured = [mean_iou(torch.from_numpy(each.sum(axis=0))) for each in counts]
    assert found.value == pytest.approx(statistics.fmean(measured), abs=1e-12)
    draw, draws = np.random.default_rng(3), []
    for _ in range(2000):
        chosen = draw.integers(len(counts[0]), size=len(counts[0]))
        draws.append(statistics.fmean(mean_iou(torch.from_numpy(each[chosen].sum(axis=0))) for each in counts))
    allowance = 4 * 0.06 * float(np.std(draws))  # of the ends of an interval from 2,000 draws
    assert found.interval.low == pytest.approx(np.quantile(draws, 0.025), abs=allowance)
    assert found.interval.high == pytest.approx(np.quantile(draws, 0.975), abs=allowance)


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 2, 3, 3)), np.zeros((2, 3, 3)), -np.ones((1, 1, 2, 2)), np.ones((0, 1, 2, 2))]
)
def test_what_is_no_confusion_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Expected"):
        mean_iou_bootstrap(wrong)


def test_two_tasks_are_never_in_one_table_or_figure(tmp_path: Path) -> None:
    digits = [*ablation("components", {"a": {}, "b": {"x": 1}}, seeds=3, lifts=(0, 0.1)), *search("digits")]
    mixed = write_scenes(tmp_path / "runs", digits)
    parts = mixed.divide_by_task()
    assert {task: len(part.runs) for task, part in parts.items()} == {
        "classification": len(digits),
        "segmentation": len(compose_scenes()),
    }
    made, refused = make_tables(mixed)
    assert not refused and {table.name for table in made} >= {
        *(f"{name}_{task}" for name in ("main_comparison", "search_summary", "selection_protocols") for task in parts)
    }
    for main in ("rivals", "components"):  # each the name of one task's ablation alone
        made_with_main, refused = make_tables(mixed, main=main)
        assert not refused and [each.name for each in made_with_main] == [each.name for each in made]
    with pytest.raises(UserError, match="--main: expected one of components, components-0, rivals, rivals-0"):
        make_tables(mixed, main="temperature")
    own = {task: {run.run_id for run in part.runs} for task, part in parts.items()}
    for table in made:
        behind = {i for row in table.cells.to_numpy() for entry in row for i in entry.values or ()}
        assert behind <= own[table.name.rpartition("_")[2]], table.name
    makers = plan_figures(mixed)
    drawn = makers["diversity_accuracy_segmentation"]()
    assert {run.run_id for run in drawn.runs} <= own["segmentation"] and "real mean IoU (%)" in words(drawn)
    (rivals,) = parts["segmentation"].list_ablations()
    one = rivals.runs[0]
    stray = dataclasses.replace(one, params={**one.params, "data.name": "glyphs"})
    with pytest.raises(MixedRunsError, match="more than one task"):
        make_ablation_table(dataclasses.replace(rivals, runs=(stray, *rivals.runs[1:])))


def test_the_papers_mean_iou_stands_only_beside_runs_of_its_own_kind(scenery: RunTable) -> None:
    recipe = resolve_settings(build_config(read_yaml(find_recipe("gta5_cityscapes_csg"))))
    recipe = {name: value for name, value in recipe.items() if name != "method.name"} | {"model.name": "resnet50"}
    (plain,) = scenery.list_ablations()
    assert "paper %" not in make_main_comparison(scenery, plain).cells

    def comparison(**more: str) -> Table:
        settings = {**recipe, **{name.replace("__", "."): value for name, value in more.items()}}
        there = changed(scenery, lambda run: dataclasses.replace(run, params={**run.params, **settings}))
        return make_main_comparison(there, there.list_ablations()[0])

    made = comparison()
    assert rows(made)["CSG"]["paper %"] == "35.27" and rows(made)["source only"]["paper %"] == "25.88"
    assert "table 5, mean IoU" in made.caption
    assert rows(comparison(model__name="resnet101"))["CSG"]["paper %"] == "38.88"
    assert "paper %" not in comparison(selection__epoch="last").cells
    assert "paper %" not in comparison(model__name="resnet18").cells


def test_class_maps_stand_beside_labels_with_a_legend_and_void_hatched(scenery: RunTable) -> None:
    figure = draw_pictures(scenery)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["image", "label", "source only", "CSG"] and len(figure.axes) == 8
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*CLASSES, "void (not counted)"]
    label, csg = (np.asarray(figure.axes[place].images[0].get_array()) for place in (1, 3))
    assert label[0, 0] == pytest.approx(to_rgb(CLASS_COLOURS[1])), "sky"
    for picture in (label, csg):
        assert picture[-1, 0] == pytest.approx(to_rgb(VOID)), "void is void in answers too"
    assert figure.axes[1].collections, "hatched"
    chosen, _ = choose_runs(scenery)
    best = max(scenery.list_ablations()[0].get_cell("CSG"), key=lambda run: run.metrics["selected/source/val/mean_iou"])
    assert chosen[1].run == best and best.name in words(figure)
    assert "that has the best mean IoU on source/val (" in words(figure)


def test_pictures_are_of_the_best_run_whatever_protocol_selected_its_epoch(scenery: RunTable) -> None:
    best = choose_runs(scenery)[0][1].run

    def scored(run: TrackedRun) -> TrackedRun:
        """Real scores are lower: those of the best run must not be compared with synthetic ones of the others."""
        score = run.metrics.get("selected/source/val/mean_iou", 0.0)  # a parent run has none
        settings = dict(run.params)
        if run.run_id == best.run_id:
            settings |= {"selection.protocol": "oracle", "selection.epoch": "best"}
            score /= 2
        return dataclasses.replace(run, params=settings, metrics={**run.metrics, "selection/score": score})

    there = changed(scenery, scored)
    chosen = choose_runs(there)[0][1].run
    assert chosen.run_id == best.run_id != max(there.runs, key=lambda run: run.metrics["selection/score"]).run_id


def test_attention_is_drawn_in_multiples_of_an_even_weight(scenery: RunTable) -> None:
    figure = draw_attention(scenery)
    titles = [" ".join(axes.get_title().split()) for axes in figure.axes if axes.get_title()]
    assert titles == ["image", *(f"{name} stage {stage}" for name in ("source only", "CSG") for stage in (3, 4))]
    for axes in figure.axes[1:5]:
        assert np.asarray(axes.images[1].get_array()).mean() == pytest.approx(1, rel=2e-3)


def test_classes_can_be_told_by_every_kind_of_eye() -> None:
    rgb = np.array([to_rgb(colour) for colour in (*CLASS_COLOURS, VOID)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in DICHROMATS:
        seen = cielab(np.clip(linear @ np.array(matrix).T, 0, 1))
        for one, other in itertools.combinations(range(len(seen)), 2):
            assert np.linalg.norm(seen[one] - seen[other]) > 12, (one, other)


def cielab(linear: np.ndarray) -> np.ndarray:
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.array(to_xyz).T / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def test_pictures_are_read_from_a_store_and_travel_with_an_export(tmp_path: Path) -> None:
    tracker = Tracker(put_store_below(tmp_path), "glyphs")
    made = pictures(right=0.8, seed=1)
    np.savez_compressed(tmp_path / PICTURES, allow_pickle=False, **made)
    run_id = tracker.client.create_run(tracker.experiment_id, tags={"status": "finished"}, run_name="one").info.run_id
    for name, value in {"data.name": "glyph_scenes", "method.name": "csg", "train.seed": "0"}.items():
        tracker.client.log_param(run_id, name, value)
    tracker.log_metrics(run_id, {REAL: 0.5, "selection/score": 0.5})
    tracker.log_artifact(run_id, DiskPlace(tmp_path / PICTURES))
    table = read_runs(experiment="glyphs", tracking_uri=tracker.uri)
    place = ["--tracking-uri", tracker.uri, "--out", str(tmp_path / "out")]
    assert export_runs.main([*place, "--pictures"]) == 0
    exported = read_runs(experiment="glyphs", tracking_uri="", exported=tmp_path / "out")
    for each in (table, exported):
        (shown,) = choose_runs(each)[0]
        assert shown.run.run_id == run_id and np.array_equal(shown.pictures["predicted"], made["predicted"])
        titles = [axes.get_title() for axes in draw_pictures(each).axes]
        assert [title for title in titles if title] == ["image", "label", "CSG"]


def test_a_command_names_what_differs_from_its_own_pairs_defaults() -> None:
    settings = {"data.name": "glyph_scenes", "method.name": "csg", "data.augmentation": "colour_jitter"}
    own = build_config({"data.name": "glyph_scenes"}).model.output_stride
    assert own != 32
    assert (
        write_command(settings | {"model.output_stride": own}) == "csg train --method.name csg --data.name glyph_scenes"
    )
    assert write_command(settings | {"model.output_stride": 32}).endswith(" --model.output_stride 32")


@pytest.mark.slow
def test_the_report_and_the_figures_script_show_them(scenery: RunTable, tmp_path: Path) -> None:
    place = ["--runs", scenery.place]
    assert report.main([*place, "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "<figure id='figure-pictures'" in page and "<figure id='figure-attention'" in page and "mean IoU" in page
    assert paper_figures.main([*place, "--out", str(tmp_path), "--importance-refits", "0"]) == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert {f"{name}.{suffix}" for name in ("pictures", "attention") for suffix in ("pdf", "png")} <= written
