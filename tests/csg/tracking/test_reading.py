"""What is read in bulk from a store's database is what MLflow's own API returns."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from sqlalchemy import text

from csg.messages.errors import UserError
from csg.tracking import Tracker, TrackingError, add_histories, read_experiment
from csg.tracking.database import is_database, open_connection
from csg.tracking.reading import TrackedRun, read_history, read_runs
from csg.tracking.tags import Tag
from tests.stores import put_store_below

HISTORY: dict[str, dict[int, float]] = {
    "score": {1: 0.5, 2: 0.625, 3: 0.25},
    "loss": {1: math.nan, 2: math.inf, 3: -1e-300},
    "e": {1: 1.0, 2: math.nan},
}
PARAMS = {"method.stages": "3+4", "optim.lr": "0.03", "method.path": "null", "data.cache": "'a: b'", "x": "true"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    """A store with a family of runs, one of them deleted, and runs of another experiment."""
    uri = put_store_below(tmp_path_factory.mktemp("store"))
    for experiment in ("others", "glyphs"):
        tracker = Tracker(uri, experiment)
        client, parent = tracker.client, ""
        for number in range(5):
            tags = {Tag.PARENT: parent, "status": ("finished", "stopped")[number % 2]} if parent else {}
            run_id = client.create_run(tracker.experiment_id, tags=tags, run_name=f"{experiment} {number}").info.run_id
            parent = parent or run_id
            for name, setting in PARAMS.items():
                client.log_param(run_id, name, setting)
            for name, values in HISTORY.items():
                for step, value in values.items():
                    client.log_metric(run_id, name, value + number, step=step, timestamp=1000 + step)
            client.log_metric(run_id, "score", 7.0, step=1, timestamp=900)
        client.delete_run(run_id)
    return tracker


def comparable(runs: list[TrackedRun]) -> list[str]:
    """Everything that a run holds, as text: a NaN equals none."""
    plain = [dataclasses.asdict(run) for run in runs]
    return [
        repr([{name: dict(sorted(held.items())) if isinstance(held, dict) else held for name, held in each.items()}])
        for each in plain
    ]


def test_bulk_reading_returns_the_runs_that_the_api_returns(store: Tracker) -> None:
    read = read_experiment(store.uri, "glyphs")
    assert comparable(read) == comparable(list(read_runs(store.client, store.experiment_id, "")))
    assert [run.name for run in read] == [f"glyphs {number}" for number in range(4)], "without the deleted one"
    assert read[1].params == {**PARAMS, "optim.lr": 0.03, "method.path": None, "data.cache": "a: b", "x": True}
    assert [run.status for run in read] == ["running", "stopped", "finished", "stopped"]
    assert math.isnan(read[2].metrics.pop("e")) and read[2].metrics == {"loss": 2.0, "score": 2.25}


@pytest.mark.parametrize("names", [["score"], ["loss", "score"], None])
def test_bulk_histories_are_those_of_the_api(
    store: Tracker, names: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = read_experiment(store.uri, "glyphs")
    found = add_histories(store.uri, runs, names)
    assert repr([run.history for run in found]) == repr(
        [read_history(store.client, run.run_id, sorted(names or HISTORY)) for run in runs]
    )
    assert found[1].history["score"] == {1: 1.5, 2: 1.625, 3: 1.25}, "the newest value of a step"
    monkeypatch.setattr("csg.tracking.reading.is_database", lambda uri: False)
    assert comparable(add_histories(store.uri, runs, names)) == comparable(found)
    assert comparable(read_experiment(store.uri, "glyphs")) == comparable(runs)


def test_a_database_that_is_read_cannot_be_written_to(store: Tracker) -> None:
    with pytest.raises(TrackingError, match="readonly"), open_connection(store.uri) as database:
        database.execute(text("DELETE FROM runs"))
    assert len(read_experiment(store.uri, "glyphs")) == 4


def test_databases_are_told_from_servers_and_folders() -> None:
    databases = ("sqlite:////a/b.db", "postgresql+psycopg2://host/db", "mysql://host/db", "mssql+pyodbc://host/db")
    assert all(map(is_database, databases))
    assert not any(map(is_database, ("http://127.0.0.1:5000", "https://host", "databricks", "file:///a", "/a", "")))


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database")
    with pytest.raises(UserError, match="--tracking-uri: expected an SQLite database, found another file"):
        read_experiment(f"sqlite:///{tmp_path / 'mlflow.db'}", "glyphs")
