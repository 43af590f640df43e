"""What a label is: the one thing that differs between classification and segmentation."""

from __future__ import annotations

from typing import Final

from csg.config import DataConfig
from csg.tasks.classification import Classification
from csg.tasks.segmentation import Segmentation
from csg.tasks.task import Task

TASKS: Final[dict[str, Task]] = {task.name: task for task in (Classification(), Segmentation())}


def find_task(config: DataConfig) -> Task:
    """Return the task of a pair."""
    return TASKS[config.task]
