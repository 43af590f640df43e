"""MLflow, the way in and the way out: every run's parameters, metrics and provenance."""

from __future__ import annotations

from csg.tracking.reading import TrackedRun, artifact_places, read_artifact, read_experiment, with_histories
from csg.tracking.refusals import not_recorded, refusal_of
from csg.tracking.run_tracker import RunTracker
from csg.tracking.store import StoreError, default_tracking_uri
from csg.tracking.tracker import Tracker

__all__ = [
    "RunTracker",
    "StoreError",
    "TrackedRun",
    "Tracker",
    "artifact_places",
    "default_tracking_uri",
    "not_recorded",
    "read_artifact",
    "read_experiment",
    "refusal_of",
    "with_histories",
]
