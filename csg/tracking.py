"""MLflow, the way in and the way out: every run's parameters, metrics and provenance."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
# A store that is away must not hold up training for minutes: whoever writes catches up later.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

import mlflow
import yaml
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from csg.config import SECTIONS, Config, ConfigError
from csg.data.pair import Pair
from csg.training.run import Identity, Record, Status, score_of
from csg.training.run import Run as TrainingRun

StoreError = MlflowException
"""What a store that is away, or refuses, raises."""
PARENT = "mlflow.parentRunId"
MLFLOW_STATUS: dict[Status, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "stopped": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """A run as it is read back."""

    run_id: str
    name: str
    status: Status
    params: dict[str, Any]
    """Settings by dotted name, in their own types."""
    tags: dict[str, str]
    metrics: dict[str, float]
    """The newest value of each metric."""
    history: dict[str, dict[int, float]]
    """Values by epoch, of the metrics that were asked for."""


def default_tracking_uri(output: str) -> str:
    """Return the SQLite store below a run's output folder, as an absolute address."""
    return f"sqlite:///{Path(output).absolute() / 'mlflow.db'}"


@lru_cache(maxsize=1)
def commit() -> str:
    """Return the git commit of the working tree, marked where it has changes; empty outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(  # noqa: S603
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


class Tracker:
    """One experiment of an MLflow store."""

    def __init__(self, uri: str, experiment: str) -> None:
        """Reach the store and make the experiment if it is new.

        Raises:
            ConfigError: the store cannot be reached or written to. Nothing was trained yet.
        """
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        path = None
        if uri.startswith("sqlite:///"):
            path = Path(uri.removeprefix("sqlite:///")).absolute()
            uri = f"sqlite:///{path}"
        self.uri = uri
        self.experiment = experiment
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            mlflow.set_tracking_uri(uri)
            self.client = MlflowClient(uri)
            found = self.client.get_experiment_by_name(experiment)
            artifacts = (path.parent / "mlartifacts").as_uri() if path is not None else None
            self.experiment_id = (
                found.experiment_id if found else self.client.create_experiment(experiment, artifact_location=artifacts)
            )
        except (MlflowException, OSError, ValueError, ImportError) as error:
            reason = str(error).splitlines()[0][:300]
            raise ConfigError(f"--tracking-uri: cannot reach the MLflow store {uri} ({reason})") from None
        except Exception as error:  # SQLAlchemy's errors have no base that MLflow exports
            raise ConfigError(f"--tracking-uri: cannot use the MLflow store {uri} ({type(error).__name__})") from error

    def find(self, tags: Mapping[str, str]) -> str | None:
        """Return the id of the oldest run that has all of ``tags``."""
        condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        runs = self.client.search_runs([self.experiment_id], condition, ViewType.ACTIVE_ONLY, 1, ["start_time ASC"])
        return runs[0].info.run_id if runs else None

    def open_parent(self, kind: str, key: str, *, name: str, params: Mapping[str, Any], description: str) -> str:
        """Find or make the parent run of a "search" or an "ablation", which ``key`` names."""
        tags = {"csg.kind": kind, f"csg.{kind}": key}
        run_id = self.find(tags)
        if run_id is None:
            tags |= {"mlflow.note.content": description, "commit": commit()}
            run_id = self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id
        self._log_params(run_id, params)
        self.client.update_run(run_id, status="RUNNING")
        return run_id

    def open_run(
        self,
        config: Config,
        pair: Pair,
        *,
        parent: str | None = None,
        name: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Find or make the run of an identity: a child of ``parent``, or any where there is no parent."""
        identity = Identity.of(config, pair)
        own = {"csg.kind": "run", "csg.run": identity.name} | ({PARENT: parent} if parent else {})
        run_id = self.find(own)
        if run_id is None:
            own |= {
                "config_id": identity.config_id,
                "seed": str(identity.seed),
                "data.fingerprint": identity.data_fingerprint,
                "source_digest": identity.source_digest,
                "commit": commit(),
                "data.description": pair.description,
                "mlflow.note.content": f"{config.method.summary} on {pair.description}",
                **{f"data.fingerprint.{stream}": held.fingerprint[:16] for stream, held in pair.streams.items()},
                **(tags or {}),
            }
            run_name = name or f"{config.method.summary} seed {identity.seed}"
            run_id = self.client.create_run(self.experiment_id, tags=own, run_name=run_name).info.run_id
        # Also where the run was there: a kill may have come between the two calls.
        self._log_params(run_id, active_settings(config))
        return run_id

    def log_record(self, run_id: str, record: Record, *, known_epochs: int = 0) -> None:
        """Bring a run up to its record: epochs beyond ``known_epochs``, final metrics, status and error."""
        now = int(time.time() * 1000)
        metrics = [
            Metric(metric_name(name), value, now, epoch)
            for epoch, values in enumerate(record.epochs, start=1)
            if epoch > known_epochs
            for name, value in values.items()
        ]
        tags = [RunTag("status", record.status)]
        if skipped := record.skipped_images:
            tags.append(RunTag("data.skipped_images", str(skipped)))
        if record.status != "running":
            metrics += [
                Metric(metric_name(name), value, now, len(record.epochs)) for name, value in record.final.items()
            ]
            metrics.append(Metric("megabytes", record.megabytes, now, len(record.epochs)))
            seconds = sum(
                value for values in record.epochs for name, value in values.items() if name.endswith("/seconds")
            )
            metrics.append(
                Metric("duration_seconds", seconds + record.final.get("test/seconds", 0.0), now, len(record.epochs))
            )
            tags += [RunTag("error", record.error[:5000])] if record.error else []
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(run_id, metrics=metrics[start : start + 1000])
        self.client.log_batch(run_id, tags=tags)
        self.set_status(run_id, record.status)

    def recorded_epochs(self, run_id: str) -> int:
        """Return how many epochs of a run are in the store."""
        history = self.client.get_metric_history(run_id, "train/loss")
        return max((metric.step for metric in history), default=0)

    def set_status(self, run_id: str, status: Status) -> None:
        """Set MLflow's own status; a stopped run shows as KILLED."""
        if status == "running":
            self.client.update_run(run_id, status="RUNNING")
        else:
            self.client.set_terminated(run_id, MLFLOW_STATUS[status])

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def mark_best(self, runs: Sequence[TrackedRun], best: TrackedRun) -> None:
        """Tag the best run of a search, and no other."""
        for run in runs:
            if run.tags.get("best") == "yes" and run.run_id != best.run_id:
                self.client.delete_tag(run.run_id, "best")
        self.client.set_tag(best.run_id, "best", "yes")

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log metrics that belong to no epoch."""
        now = int(time.time() * 1000)
        self.client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])

    def log_artifact(self, run_id: str, path: Path) -> None:
        """Attach a file."""
        self.client.log_artifact(run_id, str(path))

    def children(self, parent: str, *, history: tuple[str, ...] = ()) -> list[TrackedRun]:
        """Read a search's runs, the oldest first, with the histories of the metrics named."""
        found: list[TrackedRun] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                f"tags.`{PARENT}` = '{parent}'",
                ViewType.ACTIVE_ONLY,
                1000,
                ["start_time ASC"],
                token,
            )
            found += [self._read(run, history) for run in page]
            token = page.token
            if not token:
                return found

    def _read(self, run: Run, history: tuple[str, ...]) -> TrackedRun:
        histories = {
            name: {metric.step: metric.value for metric in self.client.get_metric_history(run.info.run_id, name)}
            for name in history
        }
        status = run.data.tags.get("status", "running")
        return TrackedRun(
            run_id=run.info.run_id,
            name=run.info.run_name,
            status=status,  # type: ignore[arg-type]
            params={name: yaml.safe_load(value) for name, value in run.data.params.items()},
            tags=dict(run.data.tags),
            metrics=dict(run.data.metrics),
            history=histories,
        )

    def _log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        known = self.client.get_run(run_id).data.params
        params = {name: value for name, value in params.items() if name not in known}
        texts = {name: yaml.safe_dump(value).removesuffix("\n...\n").strip() for name, value in params.items()}
        entries = [Param(name, text) for name, text in texts.items()]
        for start in range(0, len(entries), 100):
            self.client.log_batch(run_id, params=entries[start : start + 100])


def metric_name(name: str) -> str:
    """Return a name that MLflow takes: other characters of a class's name than it allows become underscores."""
    return re.sub(r"[^\w\-. /:]", "_", name)


def active_settings(config: Config) -> dict[str, Any]:
    """Return the settings that take part in a run, by dotted name, defaults resolved."""
    return {
        f"{section}.{name}": value for section in SECTIONS for name, value in getattr(config, section).active().items()
    }


class RunTracker:
    """Keeps one run's place in the store up to date with its record."""

    def __init__(
        self,
        tracker: Tracker,
        run: TrainingRun,
        *,
        parent: str | None = None,
        name: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Find or make the run in the store; see :meth:`Tracker.open_run`."""
        self._tracker = tracker
        self._run = run
        self.run_id = tracker.open_run(run.config, run.pair, parent=parent, name=name, tags=tags)
        self._logged = tracker.recorded_epochs(self.run_id)

    def try_to_log(self) -> bool:
        """Call :meth:`log`; return whether the store answered."""
        try:
            self.log()
        except MlflowException:
            return False
        return True

    def log(self, record: Record | None = None) -> None:
        """Write the epochs that the store lacks, and the run's status."""
        record = record or self._run.record
        if record.final:
            # Not on record, because it depends on the protocol, which is no part of what is trained.
            score = score_of(self._run.config, record.epochs)
            record = dataclasses.replace(record, final={**record.final, "selection/score": score})
        self._tracker.log_record(self.run_id, record, known_epochs=self._logged)
        self._logged = max(self._logged, len(record.epochs))
