"""The paper's figures, each with its place in the paper (``published_figures.csv``), and which runs match them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import pandas as pd

from csg.config.settings import Flat
from csg.parsing import build_config, find_recipe, read_yaml
from csg.tracking import TrackedRun
from csg.training.identity import resolve_settings

FIGURES: Final = Path(__file__).with_name("published_figures.csv")
RECIPES: Final = {
    "visda17": ("visda17_csg", "VisDA-17 validation", "mean_class_accuracy_percent"),
    "gta5_cityscapes": ("gta5_cityscapes_csg", "Cityscapes val", "mean_iou_percent"),
}
"""For each pair the published recipe, and the target data and metric of the published figures."""
OTHER_BASELINES: Final = {"gta5_cityscapes": ("ibn_net", "drpc")}
"""Methods whose published figure rests on another source-only baseline than that of these runs."""
FREE: Final = ("model.name", "model.weights", "train.energy_samples")
"""Settings in which runs may differ from the recipe: each encoder has its own figures, and weights may lie anywhere."""
ONLY_CSG: Final = re.compile(r"method\..*|data\.augmentation.*|data\.jitter")
"""Settings of a recipe that concern CSG alone; those of the rivals' published runs are unknown."""
FORMS: Final[dict[str, dict[str, object]]] = {
    "feature_l2": {"method.pooling": "average"},
    "asg": {"method.controller": True},
}
"""The known settings of the rivals' published runs."""


@lru_cache(maxsize=1)
def read_published() -> pd.DataFrame:
    """Read the published figures as texts: task, data, backbone, method, metric, value, convention and place."""
    return pd.read_csv(FIGURES, dtype=str, keep_default_na=False)


def find_published_score(runs: Sequence[TrackedRun]) -> float | None:
    """Return the published score, in %, that the runs of a cell are comparable with; None if there is none.

    All runs must have the paper's data, backbone and selection protocol and the settings of the published recipe (see
    :data:`RECIPES`). Their method must be a published one, in its published form, with the paper's own baseline.
    """
    kinds = {_get_kind(run) for run in runs}
    kind = kinds.pop() if len(kinds) == 1 else None
    scores = read_published().set_index(["target_data", "metric", "backbone", "method"])["value"].to_dict()
    return float(scores[kind]) if kind in scores else None


def _get_kind(run: TrackedRun) -> tuple[str, str, str, str] | None:
    """Return a run's data, metric, backbone and method as the paper names them; None if it is not comparable."""
    data, method = str(run.params.get("data.name")), str(run.params.get("method.name"))
    averaged = run.params.get("averaging.name") is not None
    if data not in RECIPES or method in OTHER_BASELINES.get(data, ()) or averaged:
        return None
    file, target, metric = RECIPES[data]
    wanted = {
        name: value
        for name, value in _read_recipe(file).items()
        if name not in FREE and (method == "csg" or not ONLY_CSG.fullmatch(name))
    }
    wanted |= FORMS.get(method, {})
    same = all(run.params.get(name) == value for name, value in wanted.items())
    untrained = run.params.get("model.weights") == "none"
    unguided = method == "asg" and not run.params.get("method.distillation_weight")
    return None if not same or untrained or unguided else (target, metric, str(run.params.get("model.name")), method)


@lru_cache(maxsize=len(RECIPES))
def _read_recipe(name: str) -> Flat:
    """Read the settings of a published recipe, with defaults resolved."""
    return resolve_settings(build_config(read_yaml(find_recipe(name))))
