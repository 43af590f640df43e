"""Bulk reading of a store that is a database.

MLflow's own search makes an object of every value, which takes a minute for 10,000 runs. Reading the rows takes
seconds. The tables are those of MLflow's schema. A test compares the result with that of MLflow's API
(``tests/csg/tracking/test_reading.py``).
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Executable, TableClause, column, create_engine, select, table
from sqlalchemy.exc import SQLAlchemyError

from csg.messages.text import get_first_line
from csg.storage.address import get_sqlite_path
from csg.tracking.store import TrackingError
from csg.tracking.tags import Tag

ENGINES = ("sqlite", "postgresql", "mysql", "mssql")
"""Databases that MLflow supports. An address begins with one of these, and may name a driver after a plus."""
ROWS = 50_000
"""Number of rows that are fetched together."""
RUNS_ASKED = 500
"""Number of runs that one query names. SQLite allows 32,766 parameters, older versions 999."""

RUNS = table("runs", *map(column, ("run_uuid", "name", "start_time", "experiment_id", "lifecycle_stage")))
TAGS = table("tags", *map(column, ("run_uuid", "key", "value")))
PARAMS = table("params", *map(column, ("run_uuid", "key", "value")))
LATEST = table("latest_metrics", *map(column, ("run_uuid", "key", "value", "is_nan")))
METRICS = table("metrics", *map(column, ("run_uuid", "key", "value", "is_nan", "step", "timestamp")))


@dataclass
class StoredRun:
    """A run as it is in the database."""

    run_id: str
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    """Settings by dotted name, as text."""
    metrics: dict[str, float] = field(default_factory=dict)


def is_database(uri: str) -> bool:
    """Whether a store is a database that accepts queries, and not a server or a folder."""
    scheme, found, _ = uri.partition("://")
    return bool(found) and scheme.partition("+")[0] in ENGINES


def read_stored_runs(uri: str, experiment_id: str) -> list[StoredRun]:
    """Read the runs of an experiment, the oldest first. Deleted ones are left out.

    Raises:
        TrackingError: the database does not answer.
    """
    chosen = (RUNS.c.experiment_id == int(experiment_id), RUNS.c.lifecycle_stage == "active")
    with open_connection(uri) as database:
        query = select(RUNS.c.run_uuid, RUNS.c.name, RUNS.c.start_time).where(*chosen)
        begun = sorted(_fetch_rows(database, query), key=lambda row: (row[2] is None, row[2] or 0, row[0]))
        runs = {run_id: StoredRun(run_id, name) for run_id, name, _ in begun}

        def read(source: TableClause, *more: ColumnElement[Any]) -> Iterator[Any]:
            query = select(source.c.run_uuid, source.c.key, source.c.value, *more)
            same = source.c.run_uuid == RUNS.c.run_uuid
            rows = _fetch_rows(database, query.join_from(source, RUNS, same).where(*chosen))
            return (row for row in rows if row[0] in runs)

        # A run writes its metrics first and its status, a tag, last. Tags are read first: a run that ends meanwhile may
        # seem to be running with its last metrics, but never to be finished without them.
        for run_id, key, value in read(TAGS):
            runs[run_id].tags[sys.intern(key)] = value
        for run_id, key, value in read(PARAMS):
            runs[run_id].params[sys.intern(key)] = value
        for run_id, key, value, is_nan in read(LATEST, LATEST.c.is_nan):
            runs[run_id].metrics[sys.intern(key)] = math.nan if is_nan else value
    for run in runs.values():
        run.name = run.name or run.tags.get(Tag.NAME, "")
    return list(runs.values())


def read_stored_histories(
    uri: str, run_ids: Sequence[str], names: Collection[str] | None
) -> dict[str, dict[str, dict[int, float]]]:
    """Read the values of the metrics ``names``, or of all, by run, metric and step. The newest value of a step counts.

    Raises:
        TrackingError: the database does not answer.
    """
    found: dict[str, dict[str, dict[int, float]]] = {run_id: {} for run_id in run_ids}
    columns = (METRICS.c.run_uuid, METRICS.c.key, METRICS.c.step, METRICS.c.value, METRICS.c.is_nan)
    with open_connection(uri) as database:
        for start in range(0, len(run_ids), RUNS_ASKED):
            query = select(*columns).where(METRICS.c.run_uuid.in_(run_ids[start : start + RUNS_ASKED]))
            if names is not None:
                query = query.where(METRICS.c.key.in_(list(names)))
            ordered = query.order_by(METRICS.c.timestamp, METRICS.c.step, METRICS.c.value)
            for run_id, key, step, value, is_nan in _fetch_rows(database, ordered):
                found[run_id].setdefault(sys.intern(key), {})[step] = math.nan if is_nan else value
    return {run_id: dict(sorted(history.items())) for run_id, history in found.items()}


def _fetch_rows(database: Connection, query: Executable) -> Iterator[Any]:
    yield from database.execution_options(yield_per=ROWS).execute(query)


@contextmanager
def open_connection(uri: str) -> Iterator[Connection]:
    """Connect to a database while the block lasts. An SQLite file is opened for reading only."""
    try:
        path = get_sqlite_path(uri)
        if path is not None:
            place = f"{path.as_uri()}?mode=ro"
            engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(place, uri=True))
        else:
            engine = create_engine(uri)
        try:
            with engine.connect() as database:
                yield database
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        raise TrackingError(f"{type(error).__name__}: {get_first_line(str(error))}") from error
