"""Reading runs from a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import pandas as pd
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from csg.config.names import check_experiment
from csg.messages.errors import UserError
from csg.storage.address import get_sqlite_path
from csg.tracking.artifacts import get_artifact_path, parse_folder
from csg.tracking.database import is_database, read_stored_histories, read_stored_runs
from csg.tracking.refusals import describe_deleted_experiment
from csg.tracking.store import DELETED, TrackingError, reach, resolve_uri
from csg.tracking.tags import Tag
from csg.training.record import Status

PAGE = 1000


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """A run as it is read from a store."""

    run_id: str
    name: str
    status: Status
    params: dict[str, Any]
    """Settings by dotted name, in their own types."""
    tags: dict[str, str]
    metrics: dict[str, float]
    """The newest value of each metric."""
    history: dict[str, dict[int, float]] = dataclasses.field(default_factory=dict)
    """Values by epoch of the requested metrics."""
    experiment_id: str = ""
    """The store's identifier of the experiment."""


def make_frame(runs: Sequence[TrackedRun]) -> pd.DataFrame:
    """Return runs as a DataFrame, indexed by run id, in their order.

    The columns have the names that ``mlflow.search_runs`` gives them: ``params.method.temperature``,
    ``metrics.target/test/accuracy``, ``tags.csg.cell``. Parameters keep their types.
    """
    columns = ("run_id", "name", "status", "params", "tags", "metrics")
    rows = [{name: getattr(run, name) for name in columns} for run in runs]
    if not rows:
        return pd.DataFrame(columns=["name", "status"]).rename_axis("run_id")
    return pd.json_normalize(rows, max_level=1).set_index("run_id")


def read_runs(client: MlflowClient, experiment_id: str, condition: str) -> Iterator[TrackedRun]:
    """Yield the runs of an experiment that match an MLflow filter, the oldest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], condition, ViewType.ACTIVE_ONLY, PAGE, ["attribute.start_time ASC"], token
        )
        yield from map(convert_run, page)
        token = page.token
        if not token:
            return


def read_experiment(uri: str, experiment: str) -> list[TrackedRun]:
    """Read all runs of an experiment, with the parents, the oldest first.

    Raises:
        UserError: the store does not answer, or has no such experiment.
    """
    check_experiment(experiment)
    uri = resolve_uri(uri)
    client = reach(uri)
    try:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            names = ", ".join(repr(each.name) for each in client.search_experiments() if each.name != "Default")
            raise UserError(f"--experiment: expected one of {names or 'none yet'} in {uri}, found {experiment!r}")
        if found.lifecycle_stage == DELETED:
            raise UserError(describe_deleted_experiment(experiment, found.experiment_id, uri))
        if not is_database(uri):
            return list(read_runs(client, found.experiment_id, ""))
        return [
            make_run(run.run_id, run.name, run.params, run.tags, run.metrics, experiment_id=found.experiment_id)
            for run in read_stored_runs(uri, found.experiment_id)
        ]
    except TrackingError as error:
        raise UserError(f"--tracking-uri: cannot read the MLflow store {uri} ({error})") from None


def add_histories(uri: str, runs: Sequence[TrackedRun], names: Collection[str] | None = None) -> list[TrackedRun]:
    """Return the runs with the values by epoch of the metrics ``names``, or of all their metrics.

    Raises:
        UserError: the store does not answer.
    """
    uri = resolve_uri(uri)
    client = reach(uri)
    try:
        if is_database(uri):
            found = read_stored_histories(uri, [run.run_id for run in runs], names)
        else:
            found = {
                run.run_id: read_history(
                    client, run.run_id, [each for each in run.metrics if names is None or each in names]
                )
                for run in runs
            }
    except TrackingError as error:
        raise UserError(f"--tracking-uri: cannot read the MLflow store {uri} ({error})") from None
    return [dataclasses.replace(run, history=found[run.run_id]) for run in runs]


def read_artifact(uri: str, run_id: str, name: str) -> Path | None:
    """Fetch an artifact of a run; None if the run has none of that name, or it did not move with the store."""
    uri = resolve_uri(uri)
    database = get_sqlite_path(uri)
    if database is not None and (beside := get_artifact_path(database, run_id, name)).is_file():
        return beside
    client = reach(uri)
    if name not in {file.path for file in client.list_artifacts(run_id)}:
        return None
    return Path(client.download_artifacts(run_id, name))


def list_artifact_places(uri: str, run_id: str) -> list[str]:
    """Return the folders in which :func:`read_artifact` looks for the artifacts of a run."""
    uri = resolve_uri(uri)
    recorded: str = reach(uri).get_run(run_id).info.artifact_uri
    database = get_sqlite_path(uri)
    beside = None if database is None else get_artifact_path(database, run_id, "")
    folder = parse_folder(recorded)
    places = [str(place) for place in (beside, folder) if place is not None] or [recorded]
    return list(dict.fromkeys(places))


def convert_run(run: Run) -> TrackedRun:
    """Convert a run of MLflow."""
    info, data = run.info, run.data
    return make_run(info.run_id, info.run_name, data.params, data.tags, data.metrics, experiment_id=info.experiment_id)


def read_history(client: MlflowClient, run_id: str, names: Collection[str]) -> dict[str, dict[int, float]]:
    """Read the values by epoch of the metrics named, with one request for each."""
    return {
        name: {metric.step: metric.value for metric in client.get_metric_history(run_id, name)}
        for name in sorted(names)
    }


def make_run(
    run_id: str,
    name: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    *,
    experiment_id: str,
) -> TrackedRun:
    """Make a run from the texts and values in a store."""
    return TrackedRun(
        run_id=run_id,
        name=name,
        status=cast(Status, tags.get(Tag.STATUS, "running")),
        params={name: parse_setting(text) for name, text in params.items()},
        tags=dict(tags),
        metrics=dict(metrics),
        experiment_id=experiment_id,
    )


@lru_cache(maxsize=100_000)
def parse_setting(text: str) -> Any:
    """Read the value of a setting from its text in a store. Many runs share few texts, so the values are kept."""
    return yaml.safe_load(text)


def format_setting(value: Any) -> str:
    """Write the value of a setting as text for :func:`parse_setting`."""
    return yaml.safe_dump(value).removesuffix("\n...\n").strip()
