"""Class folders of any name go all the way: check, training, store, table, prediction."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.runs.run_table import AblationRuns
from analysis.tables.comparisons import make_class_table
from analysis.tables.table import write_tables
from csg.cli import main
from csg.commands.export import make_metadata
from csg.config.names import make_metric_name
from csg.data.pair import Pair
from csg.storage.disk import DiskPlace
from csg.tracking import RunTracker, Tracker, get_default_tracking_uri, read_experiment
from csg.tracking.classes import read_classes
from csg.training.selected import load_selected
from tests.finished_run import finished_run, write_images
from tests.made_up_pair import made_up_pair

ODD = ("a,b", "a;b", "car [new]", "car [old]", "stra\udcdfe", "x|y_$z$")
EXPERIMENT = "/team/me/exp's [1]"


def odd_pair(classes: tuple[str, ...]) -> Pair:
    return dataclasses.replace(made_up_pair(), classes=classes, description="bars in stra\udcdfe [old]")


def test_a_table_has_a_column_for_each_class_and_a_search_is_found_again_in_any_folder(tmp_path: Path) -> None:
    uri = get_default_tracking_uri(str(tmp_path / "runs?q"))
    tracker = Tracker(uri, EXPERIMENT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs?q"]
    folder = tmp_path / 'it\'s "q" #1%41'
    parents = {
        tracker.open_parent(
            "ablation", "d-0", folder=DiskPlace(folder), name="d", params={"design": "d"}, description="on stra\udcdfe",
            tags={"csg.cells": json.dumps({"one [x]": "one [x]"}), "csg.title": "T|[x]"},
        )
        for _ in range(2)
    }  # fmt: skip
    (parent,) = parents
    for number, classes in enumerate((ODD[:3], ODD[3:])):
        run = finished_run(tmp_path / f"out{number}", odd_pair(classes), train__epochs=1, train__seed=number)
        RunTracker(tracker, run, parent=parent, tags={"csg.cell": "one [x]"}).log()
        assert run.record.status == "finished"
    found = {run.run_id: run for run in read_experiment(uri, EXPERIMENT)}
    runs = tuple(run for run in found.values() if run.tags.get("csg.cell"))
    assert [read_classes(run.tags) for run in runs] == [ODD[:3], ODD[3:]]
    table = make_class_table(AblationRuns(found[parent], runs), mix=("data",))
    assert list(table.cells) == ["n", *(name.replace("\udcdf", "\\xdf") for name in ODD)]
    by_hand = {make_metric_name(f"target/test/class_accuracy/{name}") for name in ODD}
    assert {entry.metric for entry in table.cells.iloc[0, 1:]} == by_hand and len(by_hand) == 6
    written = write_tables([table], runs, DiskPlace(tmp_path / "tables"))
    text = written[0].local.read_text()
    assert "T\\|[x]" in text and "x\\|y\\_$z$" in text, "bars of names end no cell of Markdown"


def test_selected_weights_keep_the_names_of_their_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path / "out", odd_pair(ODD[2:5]), train__epochs=1)
    selected = load_selected(run.selected)
    assert selected.classes == ODD[2:5]
    json.dumps(make_metadata(selected)).encode()
    write_images(tmp_path / "images", made_up_pair(), "target/test")
    (tmp_path / "images" / "a").rename(tmp_path / "images" / "stra\udcdfe")
    table = tmp_path / "t.csv"
    assert main(["predict", str(tmp_path / "images"), "--checkpoint", str(run.selected), "--output", str(table)]) == 0
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["class"] for row in rows} <= set(ODD[2:5])
    assert {row["file"].partition("/")[0] for row in rows} == {"b", "c", "stra\udcdfe"}
    capsys.readouterr()


def test_folders_of_any_name_are_checked_and_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(0)
    names = (*ODD, "line\nbreak", "esc\x1b[31m", "Tür")
    for side in ("S", "T"):
        for name in names:
            folder = tmp_path / side / name
            folder.mkdir(parents=True)
            for number in range(4):
                Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    data = ["--data.name", "folders", "--data.source", str(tmp_path / "S"), "--data.target", str(tmp_path / "T")]
    rest = ["--train.output", str(tmp_path / "o [x]"), "--data.image-size", "32", "--train.batch_size", "4"]
    assert main(["data", "check", *data, *rest]) == 0
    shown = capsys.readouterr().out
    for text in ("car [old]", "car [new]", "stra\\xdfe", "line\\nbreak", "esc\\x1b[31m", "Tür"):
        assert text in shown
    assert "\x1b" not in shown
    small = ["--train.epochs", "1", "--model.name", "tiny", "--model.weights", "none"]
    method = ["--method.name", "source_only", "--tracking-uri", "none"]
    assert main(["train", *data, *rest, *small, *method]) == 0
    shown = capsys.readouterr().out
    assert "o [x]/trained" in shown, "brackets are no markup of the console's"
    final = json.loads(next(tmp_path.glob("o*/trained/*/record.json")).read_text())["final"]
    assert {f"target/test/class_accuracy/{name}" for name in names} <= set(final)
    selected = load_selected(DiskPlace(next(tmp_path.glob("o*/trained/*/selected.pt"))))
    assert selected.classes == tuple(sorted(names))
