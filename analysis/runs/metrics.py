"""The metrics that a run is judged by: those of its task, and the one that its selection protocol looks at."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from csg.config.pairs import get_pair_task
from csg.tasks import TASKS
from csg.tasks.task import Task
from csg.tracking import TrackedRun
from csg.training.evaluation import PROTOCOL_STREAMS

E0_METRIC: Final = "target/test/E0_mhe"
"""The energy E_0 in the convention of the paper's printed figures."""


def get_task_name(run: TrackedRun) -> str:
    """Return the name of a run's task; empty for the parent of a search or an ablation, which has no data."""
    return get_pair_task(run.params["data.name"]) if "data.name" in run.params else ""


def get_task(runs: Iterable[TrackedRun]) -> Task:
    """Return the task that runs share; classification if there are no runs."""
    return TASKS[next(filter(None, map(get_task_name, runs)), "classification")]


def has_metrics(run: TrackedRun, *names: str) -> bool:
    """Return whether a run has a finite value of each metric."""
    return all(math.isfinite(run.metrics.get(name, math.nan)) for name in names)


def name_protocol_metric(protocol: str, task: Task) -> str:
    """Return the metric of a finished run that a protocol selects by."""
    return f"selected/{PROTOCOL_STREAMS[protocol]}/{task.score}"


def find_protocol(score: str) -> str:
    """Return the selection protocol that looks at the score's stream; empty if none does."""
    stream = score.rpartition("/")[0]
    return next((protocol for protocol, looked_at in PROTOCOL_STREAMS.items() if looked_at == stream), "")


def describe_protocol(run: TrackedRun) -> str:
    """Return the protocol that selected a run's epoch; without ``selection.epoch=best`` none did."""
    if run.params.get("selection.epoch") == "best":
        return str(run.params.get("selection.protocol"))
    return "none (last epoch)"


def count_target_queries(run: TrackedRun) -> int:
    """Count how often a run looked at the target to select its epoch."""
    looked = run.params.get("selection.epoch") == "best" and PROTOCOL_STREAMS[
        str(run.params.get("selection.protocol"))
    ].startswith("target/")
    return int(run.params["train.epochs"]) if looked else 0
