"""Writing an experiment of an MLflow store."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlflow.entities import Metric, Param, RunTag
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE

from csg.config import SECTIONS, Config
from csg.config.names import check_experiment, make_metric_name
from csg.data.pair import Pair
from csg.messages.text import make_one_line, make_printable
from csg.storage.address import get_sqlite_path
from csg.storage.bucket import BucketGoneError
from csg.storage.disk import DiskPlace
from csg.storage.place import Place
from csg.tracking.classes import make_class_tags
from csg.tracking.commit import get_commit
from csg.tracking.reading import TrackedRun, convert_run, format_setting, read_history, read_runs
from csg.tracking.refusals import describe_deleted_experiment, describe_refusal
from csg.tracking.store import DELETED, TrackingError, connect, resolve_uri
from csg.tracking.tags import PARENT_KEYS, Tag
from csg.tracking.view import View, escape_markdown, make_note, make_view_address
from csg.training.identity import Identity
from csg.training.record import Record, Status

MLFLOW_STATUS: dict[Status, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "stopped": "FINISHED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}
BATCH = 1000
"""Largest number of metrics that MLflow accepts at once."""
T = TypeVar("T")
LOSS = "train/loss"
"""A metric that every epoch has."""
PLAIN = re.compile(r"[\w\-. /:+~]*", re.ASCII)
"""A text that can be part of a filter. MLflow has no escapes there."""


class Tracker:
    """One experiment of an MLflow store."""

    def __init__(self, uri: str, experiment: str) -> None:
        """Connect to the store, and make the experiment if it is new; see :func:`csg.tracking.store.connect`.

        Raises:
            UserError: the store cannot be reached or written to, or cannot hold such a name.
        """
        check_experiment(experiment)
        self.uri = resolve_uri(uri)
        self.experiment = experiment
        self.client, self.experiment_id = connect(self.uri, experiment)

    def describe_refusal(self, error: TrackingError) -> str:
        """Say what the store refuses and what to do. The text is empty if the store is only unreachable."""
        refusal = describe_refusal(error)
        try:
            deleted = bool(refusal) and self.client.get_experiment(self.experiment_id).lifecycle_stage == DELETED
        except TrackingError:
            deleted = False
        if deleted:
            return (
                f"{describe_deleted_experiment(self.experiment, self.experiment_id, self.uri)}; nothing that was "
                "trained is lost: the same command then fills it in"
            )
        return refusal

    def write_all(self, behind: dict[int, T], write: Callable[[int, T], None]) -> str:
        """Call ``write`` for each item of ``behind``, and remove the items that the store accepted.

        Returns:
            The refusal of the store; empty if it accepted all, or is unreachable.
        """
        refusal = ""
        for key in list(behind):
            try:
                write(key, behind[key])
            except TrackingError as error:  # noqa: PERF203 (a request costs more)
                before, refusal = refusal, self.describe_refusal(error)
                if refusal in ("", before):
                    break  # unreachable, or it refuses every item alike
            else:
                del behind[key]
        return refusal

    def find(self, tags: Mapping[str, str]) -> str | None:
        """Return the id of the oldest run that has all of ``tags``, whose values may hold any character."""
        wanted = _escape_tags(tags)
        condition = " and ".join(
            f"tags.`{name}` = '{value}'" for name, value in wanted.items() if PLAIN.fullmatch(value)
        )
        runs = read_runs(self.client, self.experiment_id, condition)
        return next((run.run_id for run in runs if wanted.items() <= run.tags.items()), None)

    def open_parent(
        self,
        kind: str,
        key: str,
        *,
        folder: Place,
        name: str,
        params: Mapping[str, Any],
        description: str,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Find or make the parent run of a "search" or an "ablation", which ``key`` and ``folder`` identify.

        The same flags with another ``train.output`` make another parent, with other runs.
        """
        own = self._make_parent_tags(kind, key, folder)
        run_id = self.find(own)
        if run_id is None:
            own |= {Tag.NOTE: description, Tag.COMMIT: get_commit(), **(tags or {})}
            run_id = self._create(own, name)
        self._log_params(run_id, params)
        self.set_status(run_id, "running")
        return run_id

    def find_parent(self, kind: str, key: str, folder: Place) -> str | None:
        """Return the id of the run that :meth:`open_parent` makes, or None if it does not exist."""
        return self.find(self._make_parent_tags(kind, key, folder))

    def _make_parent_tags(self, kind: str, key: str, folder: Place) -> dict[str, str]:
        return {Tag.KIND: kind, PARENT_KEYS[kind]: key, Tag.FOLDER: self._name_folder(folder)}

    def share_view(self, view: View, description: str, verdict: Sequence[str] = ()) -> str:
        """Make a view of the runs below a parent, and describe the parent by it; see :func:`make_note`.

        Returns:
            The address of the view, to append to the server's.
        """
        key = f"csg-{view.parent[:12]}"
        self.client.set_experiment_tag(self.experiment_id, f"{Tag.VIEW}{key}", view.make_state())
        address = make_view_address(self.experiment_id, key)
        self.client.set_tag(view.parent, Tag.NOTE, make_note(address, verdict, make_printable(description)))
        return address

    def open_run(
        self,
        config: Config,
        pair: Pair,
        *,
        parent: str | None = None,
        name: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Find or make the run of an identity, below ``parent`` if there is one."""
        identity = Identity.of(config, pair)
        own = {Tag.KIND: "child" if parent else "run", Tag.RUN: identity.name}
        own |= {Tag.PARENT: parent} if parent else {}
        run_id = self.find(own)
        if run_id is None:
            own |= {
                Tag.CONFIG_ID: identity.config_id,
                Tag.SEED: str(identity.seed),
                Tag.DATA: identity.data_fingerprint,
                Tag.PROGRAM: identity.source_digest,
                Tag.COMMIT: get_commit(),
                "data.description": pair.description,
                Tag.NOTE: escape_markdown(f"{config.summary} on {pair.description}"),
                **{f"{Tag.DATA}.{stream}": held.fingerprint[:16] for stream, held in pair.streams.items()},
                **make_class_tags(pair.classes),
                **(tags or {}),
            }
            run_name = name or f"{config.summary} seed {identity.seed}"
            run_id = self._create(own, run_name)
        # Also if the run existed: a kill may have come between the two calls.
        self._log_params(run_id, list_active_settings(config))
        return run_id

    def log_record(self, run_id: str, record: Record, *, known_epochs: int) -> None:
        """Write the epochs of a record beyond ``known_epochs``, its final metrics, its status and its error."""
        now = int(time.time() * 1000)
        metrics = [
            Metric(make_metric_name(name), value, now, epoch)
            for epoch, values in enumerate(record.epochs, start=1)
            if epoch > known_epochs
            for name, value in values.items()
        ]
        tags = []
        if skipped := record.skipped_images:
            tags.append(RunTag("data.skipped_images", str(skipped)))
        if record.status in ("finished", "stopped"):  # a run that may go on would have other values at this step
            last = {**record.final, "megabytes": record.megabytes, **record.durations}
            metrics += [Metric(make_metric_name(name), value, now, len(record.epochs)) for name, value in last.items()]
        if record.error:
            tags.append(RunTag(Tag.ERROR, make_printable(record.error)[:5000]))
        # read_progress() counts epochs by their loss, so the loss of an epoch is written last.
        metrics.sort(key=lambda metric: (metric.step, metric.key == LOSS))
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        if tags:
            self.client.log_batch(run_id, tags=tags)
        self.set_status(run_id, record.status)

    def read_progress(self, run_id: str) -> tuple[int, str]:
        """Return the number of epochs of a run in the store, and its status there, which is empty if it has none."""
        history = self.client.get_metric_history(run_id, LOSS)
        status: str = self.client.get_run(run_id).data.tags.get(Tag.STATUS, "")
        return max((metric.step for metric in history), default=0), status

    def set_status(self, run_id: str, status: Status) -> None:
        """Set the tag ``status``, and the status that MLflow shows.

        A stopped run is FINISHED there, since a scheduler ended it as it should: MLflow's pages mark every other ending
        with a red cross. The tag tells them apart.
        """
        self.client.set_tag(run_id, Tag.STATUS, status)
        if status == "running":
            self.client.update_run(run_id, status="RUNNING")
        else:
            self.client.set_terminated(run_id, MLFLOW_STATUS[status])

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in _escape_tags(tags).items()])

    def mark_best(self, runs: Sequence[TrackedRun], best: TrackedRun) -> None:
        """Tag the best run of a search, and remove the tag from the others."""
        for run in runs:
            if run.tags.get(Tag.BEST) == "yes" and run.run_id != best.run_id:
                self.client.delete_tag(run.run_id, Tag.BEST)
        self.client.set_tag(best.run_id, Tag.BEST, "yes")

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Write metrics that do not belong to an epoch."""
        now = int(time.time() * 1000)
        self.client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])

    def log_artifact(self, run_id: str, place: Place) -> None:
        """Store a file with a run."""
        try:
            if isinstance(place, DiskPlace):
                self.client.log_artifact(run_id, str(place.path))
                return
            with tempfile.TemporaryDirectory(prefix="csg-") as folder, place.open() as file:
                copy = Path(folder, place.local.name)
                copy.write_bytes(file.read())
                self.client.log_artifact(run_id, str(copy))
        except (TrackingError, BucketGoneError):
            raise
        except Exception as error:  # the stores of artifacts have errors of their own
            code = PERMISSION_DENIED if isinstance(error, PermissionError) else TEMPORARILY_UNAVAILABLE
            raise TrackingError(f"cannot keep {place.local.name} ({type(error).__name__}: {error})", code) from error

    def read(self, run_id: str) -> TrackedRun:
        """Read a run."""
        return convert_run(self.client.get_run(run_id))

    def read_children(self, parent: str, *, history: tuple[str, ...] = ()) -> list[TrackedRun]:
        """Read the runs below ``parent``, the oldest first, with the ``history`` of the metrics named."""
        return [
            dataclasses.replace(run, history=read_history(self.client, run.run_id, history))
            for run in read_runs(self.client, self.experiment_id, f"tags.`{Tag.PARENT}` = '{parent}'")
        ]

    def _create(self, tags: Mapping[str, str], name: str) -> str:
        created = self.client.create_run(self.experiment_id, tags=_escape_tags(tags), run_name=make_one_line(name))
        run_id: str = created.info.run_id
        return run_id

    def _name_folder(self, folder: Place) -> str:
        """Name a folder by its path below an SQLite store, as both may be moved together, or else by its address."""
        path = get_sqlite_path(self.uri)
        if path is not None and isinstance(folder, DiskPlace) and folder.path.absolute().is_relative_to(path.parent):
            return folder.path.absolute().relative_to(path.parent).as_posix()
        return str(folder)

    def _log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        known = self.client.get_run(run_id).data.params
        params = {name: value for name, value in params.items() if name not in known}
        entries = [Param(name, format_setting(value)) for name, value in params.items()]
        for start in range(0, len(entries), 100):
            self.client.log_batch(run_id, params=entries[start : start + 100])


def _escape_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags with escapes for bytes that are not text, which a database does not accept."""
    return {name: make_printable(value) for name, value in tags.items()}


def list_active_settings(config: Config) -> dict[str, Any]:
    """Return the settings that have an effect, by dotted name, with the defaults resolved."""
    return {
        f"{section}.{name}": value
        for section in SECTIONS
        for name, value in getattr(config, section).get_active().items()
    }
