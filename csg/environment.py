"""Environment variables that libraries read when they are imported. What a user has set stays."""

from __future__ import annotations

import os
from typing import Final

DEFAULTS: Final = {
    # GNU's OpenMP (torch on Linux): threads wait a short time before they sleep. Those that never sleep make a step
    # several times as slow where other work needs their core. Those that sleep at once make every step slower.
    "GOMP_SPINCOUNT": "10000",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A store that is away must not hold up training for minutes: what it lacks is written later.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    # Ray Train looks after its workers every two seconds by default, and keeps metrics that nobody here reads.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


def set_defaults() -> None:
    """Set each variable that is not set."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
