"""MLflow: writing and reading the parameters, metrics and provenance of every run."""

from __future__ import annotations

from csg.tracking.evaluations import read_evaluated_sets, record_evaluation
from csg.tracking.reading import (
    TrackedRun,
    add_histories,
    list_artifact_places,
    make_frame,
    read_artifact,
    read_experiment,
)
from csg.tracking.refusals import describe_refusal, make_recording_error
from csg.tracking.run_tracker import RunTracker
from csg.tracking.store import TrackingError, get_default_tracking_uri
from csg.tracking.tracker import Tracker
from csg.tracking.view import View

__all__ = [
    "RunTracker",
    "TrackedRun",
    "Tracker",
    "TrackingError",
    "View",
    "add_histories",
    "describe_refusal",
    "get_default_tracking_uri",
    "list_artifact_places",
    "make_frame",
    "make_recording_error",
    "read_artifact",
    "read_evaluated_sets",
    "read_experiment",
    "record_evaluation",
]
