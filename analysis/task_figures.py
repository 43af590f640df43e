"""Which figures a run is judged by: those of its task, which its data decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from csg.data.pair import TARGET_TEST
from csg.pairs import SEGMENTED
from csg.tasks import TASKS
from csg.tasks.task import Task
from csg.tracking import TrackedRun


@dataclass(frozen=True)
class TaskFigures:
    """Names of a task's metrics, and the words for them; see :class:`csg.tasks.task.Task`."""

    name: str
    score: str
    score_words: str
    overall: str
    overall_words: str
    one_label: bool
    headline: str
    headline_words: str
    by_class: str

    @classmethod
    def of(cls, task: Task) -> TaskFigures:
        """Take over the names of a task."""
        return cls(**{field.name: getattr(task, field.name) for field in dataclasses.fields(cls)})

    @property
    def real_score(self) -> str:
        """The metric of real images that configurations are judged by."""
        return f"{TARGET_TEST}/{self.score}"

    @property
    def real_overall(self) -> str:
        """The metric of real images that is the share of all labels answered correctly."""
        return f"{TARGET_TEST}/{self.overall}"

    @property
    def class_words(self) -> str:
        """The figure of a single class."""
        return self.score_words.removeprefix("mean ").removeprefix("class ")


FIGURES: Final = {name: TaskFigures.of(task) for name, task in TASKS.items()}


def task_name(run: TrackedRun) -> str:
    """Name the task of a run; empty for a search's or an ablation's own, which has no data."""
    if "data.name" not in run.params:
        return ""
    return "segmentation" if run.params["data.name"] in SEGMENTED else "classification"


def task_of(runs: Iterable[TrackedRun]) -> TaskFigures:
    """Return the figures of runs that share a task; those of classification for none."""
    return FIGURES[next(filter(None, map(task_name, runs)), "classification")]
