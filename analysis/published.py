"""The paper's figures, each with its place in the paper (``published_figures.csv``), and what is comparable."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from csg.tracking import TrackedRun

FIGURES: Final = Path(__file__).parent / "published_figures.csv"
MEAN_CLASS: Final = "mean_class_accuracy_percent"


@lru_cache(maxsize=1)
def published() -> tuple[dict[str, str], ...]:
    """Read the published figures: task, data, backbone, method, metric, value, convention and place."""
    with FIGURES.open(newline="") as file:
        return tuple(csv.DictReader(file))


def published_accuracy(runs: Sequence[TrackedRun]) -> float | None:
    """Return the published mean class accuracy, in %, that runs of one cell are comparable with.

    They are where all of them are of the paper's task, data, backbone and selection protocol, at a published method in
    its published form.
    """
    methods = {_method(run) for run in runs}
    if len(methods) != 1 or None in methods:
        return None
    (method,) = methods
    found = [
        float(figure["value"])
        for figure in published()
        if figure["metric"] == MEAN_CLASS
        and figure["method"] == method
        and figure["target_data"] == "VisDA-17 validation"
    ]
    return found[0] if found else None


def _method(run: TrackedRun) -> str | None:
    """Name a run's method as the published figures do; None where the run is not comparable with the paper's."""
    wanted = {
        "data.name": "visda17",
        "data.target_split": "validation",
        "model.name": "resnet101",
        "selection.protocol": "paper",
        "selection.epoch": "best",
    }
    if any(run.params.get(name) != value for name, value in wanted.items()):
        return None
    method = str(run.params.get("method.name"))
    forms: dict[str, dict[str, object]] = {
        "csg": {"method.stages": "3+4", "method.stage3.pooling": "apool", "method.stage4.pooling": "apool"},
        "feature_l2": {"method.pooling": "average"},
        "asg": {"method.controller": True},
    }
    same = all(run.params.get(name) == value for name, value in forms.get(method, {}).items())
    guided = method != "asg" or bool(run.params.get("method.distillation_weight"))
    return method if same and guided else None
