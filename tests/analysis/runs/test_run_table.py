"""An experiment's runs as a DataFrame."""

from __future__ import annotations

import pandas as pd

from analysis.runs.run_table import RunTable


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
