"""The paper's figures, each with its place in the paper (``published_figures.csv``), and what is comparable."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from csg.tracking import TrackedRun

FIGURES: Final = Path(__file__).parent / "published_figures.csv"


@lru_cache(maxsize=1)
def published() -> tuple[dict[str, str], ...]:
    """Read the published figures: task, data, backbone, method, metric, value, convention and place."""
    with FIGURES.open(newline="") as file:
        return tuple(csv.DictReader(file))


def published_score(runs: Sequence[TrackedRun]) -> float | None:
    """Return the published score, in %, that runs of one cell are comparable with: mean class accuracy, or mean IoU.

    They are where all of them are of the paper's task, data, backbone and selection protocol, at a published method in
    its published form, with the paper's own baseline.
    """
    kinds = {_kind(run) for run in runs}
    if len(kinds) != 1 or None in kinds:
        return None
    found = [
        float(figure["value"])
        for figure in published()
        if (figure["target_data"], figure["metric"], figure["backbone"], figure["method"]) in kinds
    ]
    return found[0] if found else None


RECIPES: Final[dict[str, tuple[dict[str, str], tuple[str, str]]]] = {
    "visda17": (
        {"data.target_split": "validation", "model.name": "resnet101"},
        ("VisDA-17 validation", "mean_class_accuracy_percent"),
    ),
    "gta5_cityscapes": ({}, ("Cityscapes val", "mean_iou_percent")),
}
"""By pair: what a run must have to be the paper's, and how its figures are found."""
OTHER_BASELINES: Final = {"gta5_cityscapes": ("ibn_net", "drpc")}
"""Methods whose published figure is on top of another source only than the one that these runs have."""


def _kind(run: TrackedRun) -> tuple[str, str, str, str] | None:
    """Name a run's data, metric, backbone and method as the published figures do; None where it is not comparable."""
    data, method = str(run.params.get("data.name")), str(run.params.get("method.name"))
    if data not in RECIPES or method in OTHER_BASELINES.get(data, ()):
        return None
    wanted, named = RECIPES[data]
    wanted = wanted | {"selection.protocol": "paper", "selection.epoch": "best"}
    if any(run.params.get(name) != value for name, value in wanted.items()):
        return None
    forms: dict[str, dict[str, object]] = {
        "csg": {"method.stages": "3+4", "method.stage3.pooling": "apool", "method.stage4.pooling": "apool"},
        "feature_l2": {"method.pooling": "average"},
        "asg": {"method.controller": True},
    }
    same = all(run.params.get(name) == value for name, value in forms.get(method, {}).items())
    guided = method != "asg" or bool(run.params.get("method.distillation_weight"))
    return (*named, str(run.params.get("model.name")), method) if same and guided else None
