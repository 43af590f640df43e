"""An experiment's runs as a DataFrame."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd

from analysis.runs.metrics import format_real_interval
from analysis.runs.run_table import AblationRuns, RunTable
from csg.tracking.tags import PIECE, Tag, make_long_tag
from tests.analysis.made_up_experiment import ablation


def test_runs_are_a_frame_with_the_columns_of_mlflow_and_settings_of_their_types(table: RunTable) -> None:
    frame = table.to_frame()
    assert list(frame.index) == [run.run_id for run in table.runs]
    cells = frame[frame["tags.csg.cell"].notna() & frame["tags.csg.ablation"].isna()]
    accuracy = cells.groupby("tags.csg.cell")["metrics.target/test/accuracy"].mean()
    (components, *_) = table.list_ablations()
    values = [run.metrics["target/test/accuracy"] for run in components.get_cell("+ A-pool")]
    assert accuracy["+ A-pool"] == pd.Series(values).mean()
    assert pd.api.types.is_numeric_dtype(frame["params.method.temperature"])
    assert set(frame["status"]) == {"finished", "stopped", "running"}


def test_cells_of_more_characters_than_a_tag_holds_are_read_and_compared_with_one_of_them() -> None:
    made, *runs = ablation("rivals", {"a": {}, "b": {}}, seeds=2, lifts=(0.0, 0.1))
    cells = {f"{number} {'long ' * 40}": "a" for number in range(60)} | {"a": "a"}
    tags = {name: text for name, text in made.tags.items() if name != Tag.CELLS} | make_long_tag(
        Tag.CELLS, json.dumps(cells)
    )
    assert all(len(text) <= PIECE for text in tags.values()) and f"{Tag.CELLS}.2" in tags
    found = AblationRuns(dataclasses.replace(made, tags=tags), tuple(runs))
    assert found.comparisons == cells
    other = next(iter(cells))
    assert found.compare_with(other).comparisons == dict.fromkeys(cells, other)


def test_a_mean_over_trainings_without_each_source_has_no_interval_over_images(table: RunTable) -> None:
    run = next(run for run in table.runs if run.status == "finished")
    mean = dataclasses.replace(run, tags=run.tags | {Tag.WITHOUT: "{}"})
    assert format_real_interval(run, 0.5).startswith(" [") and not format_real_interval(mean, 0.5)
