"""Which figures a run is judged by: those of its task, which its data decide."""

from __future__ import annotations

from collections.abc import Iterable

from csg.config.pairs import get_pair_task
from csg.tasks import TASKS
from csg.tasks.task import Task
from csg.tracking import TrackedRun


def task_name(run: TrackedRun) -> str:
    """Name the task of a run; empty for a search's or an ablation's own, which has no data."""
    return get_pair_task(run.params["data.name"]) if "data.name" in run.params else ""


def task_of(runs: Iterable[TrackedRun]) -> Task:
    """Return the task that runs share; classification for none."""
    return TASKS[next(filter(None, map(task_name, runs)), "classification")]
