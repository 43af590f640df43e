"""The paper's figures, each with its place in the paper (``published_figures.csv``), and what is comparable."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from csg.config.settings import Flat
from csg.parsing import config_from_flat, read_yaml
from csg.storage.disk import DiskPlace
from csg.tracking import TrackedRun
from csg.training.identity import canonical

FIGURES: Final = Path(__file__).parents[1] / "published_figures.csv"
CONFIGS: Final = Path(__file__).parents[2] / "configs"


@lru_cache(maxsize=1)
def published() -> tuple[dict[str, str], ...]:
    """Read the published figures: task, data, backbone, method, metric, value, convention and place."""
    with FIGURES.open(newline="") as file:
        return tuple(csv.DictReader(file))


def published_score(runs: Sequence[TrackedRun]) -> float | None:
    """Return the published score, in %, that runs of one cell are comparable with: mean class accuracy, or mean IoU.

    They are where all of them are of the paper's data, backbone and selection protocol, have the published recipe's
    settings (see :data:`RECIPES`), and are of a published method in its published form, with the paper's own baseline.
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


RECIPES: Final = {
    "visda17": ("visda17_csg.yaml", "VisDA-17 validation", "mean_class_accuracy_percent"),
    "gta5_cityscapes": ("gta5_cityscapes_csg.yaml", "Cityscapes val", "mean_iou_percent"),
}
"""By pair: the published recipe's file, and how its figures are found."""
OTHER_BASELINES: Final = {"gta5_cityscapes": ("ibn_net", "drpc")}
"""Methods whose published figure is on top of another source only than the one that these runs have."""
FREE: Final = ("model.name", "model.weights", "train.energy_samples")
"""Settings of a recipe in which runs may differ: each encoder has figures of its own, weights are wherever they lie."""
ONLY_CSG: Final = re.compile(r"method\..*|data\.augmentation.*|data\.jitter")
"""Settings of a recipe that are CSG's own: those of its rivals' published runs are not known."""
FORMS: Final[dict[str, dict[str, object]]] = {
    "feature_l2": {"method.pooling": "average"},
    "asg": {"method.controller": True},
}
"""What is known of how the rivals were run."""


@lru_cache(maxsize=len(RECIPES))
def _recipe(name: str) -> Flat:
    """Read what a published recipe computes, defaults resolved."""
    return canonical(config_from_flat(read_yaml(DiskPlace(CONFIGS / name))))


def _kind(run: TrackedRun) -> tuple[str, str, str, str] | None:
    """Name a run's data, metric, backbone and method as the published figures do; None where it is not comparable."""
    data, method = str(run.params.get("data.name")), str(run.params.get("method.name"))
    if data not in RECIPES or method in OTHER_BASELINES.get(data, ()):
        return None
    file, target, metric = RECIPES[data]
    wanted = {
        name: value
        for name, value in _recipe(file).items()
        if name not in FREE and (method == "csg" or not ONLY_CSG.fullmatch(name))
    }
    wanted |= FORMS.get(method, {})
    same = all(run.params.get(name) == value for name, value in wanted.items())
    untrained = run.params.get("model.weights") == "none"
    unguided = method == "asg" and not run.params.get("method.distillation_weight")
    return None if not same or untrained or unguided else (target, metric, str(run.params.get("model.name")), method)
