"""A made-up experiment in segmentation: an ablation and a search, with confusions, features and pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from analysis.runs.run_table import RunTable
from csg.data.pair import IGNORED
from csg.storage.layout import OUTPUTS, PICTURES
from csg.tracking import TrackedRun
from tests.analysis.made_up_experiment import CSG, SOURCE_ONLY, ablation, search, write_experiment

CLASSES = ("road", "sky", "car", "person")
IMAGES = 12
SCENES = {"data.name": "glyph_scenes"}
PLACE = {"csg.kind": "child"}


def as_scene(run: TrackedRun) -> TrackedRun:
    """Turn a made-up run into one of segmentation: other data, and figures of its own."""
    if "data.name" not in run.params:
        return run
    metrics = {
        name.replace("mean_class_accuracy", "mean_iou").replace("/accuracy", "/pixel_accuracy"): value
        for name, value in run.metrics.items()
    }
    by_class = {f"target/test/class_iou/{name}": 0.1 * place for place, name in enumerate(CLASSES, start=1)}
    tags = {**run.tags, "data.fingerprint": "scenes0", "csg.run": f"{run.run_id} scene"}
    return dataclasses.replace(run, params={**run.params, **SCENES}, metrics=metrics | by_class, tags=tags)


def compose_scenes() -> list[TrackedRun]:
    """The runs of an ablation and of a search, the oldest first."""
    cells = {"source only": SOURCE_ONLY, "CSG": CSG}
    runs = ablation("rivals", cells, seeds=3, lifts=(0.0, 0.1), title="Rivals")
    found = search("scenes-source-seed0", suggested=12)
    parent = dataclasses.replace(found[0], tags={**found[0].tags, "csg.score": "source/val/mean_iou"})
    return [as_scene(dataclasses.replace(run, run_id=run.run_id)) for run in (*runs, parent, *found[1:])]


def confusions(seed: int, accuracy: float) -> np.ndarray:
    """Confusion matrices (IMAGES, classes, classes) of images whose pixels are the same for every seed."""
    truth = np.random.default_rng(0).multinomial(400, [0.6, 0.25, 0.15, 0.0], size=IMAGES)
    draw = np.random.default_rng(seed)
    made = np.zeros((IMAGES, len(CLASSES), len(CLASSES)), dtype=np.int32)
    for image in range(IMAGES):
        for index, pixels in enumerate(truth[image]):
            chances = np.full(len(CLASSES) - 1, (1 - accuracy) / (len(CLASSES) - 2))
            chances[min(index, len(chances) - 1)] = accuracy
            made[image, index, : len(chances)] = draw.multinomial(pixels, chances)
    return made


def pictures(*, right: float, seed: int, side: tuple[int, int] = (32, 64)) -> dict[str, np.ndarray]:
    """Pictures of two scenes, and answers of which a share ``right`` is right."""
    scene, draw = np.random.default_rng(0), np.random.default_rng(seed)
    labels = np.zeros((2, *side), dtype=np.int16)
    labels[:, : side[0] // 2], labels[:, 20:28, 10:30], labels[:, 18:30, 44:50] = 1, 2, 3
    images = (60 * labels[:, None] + scene.integers(0, 60, (2, 3, *side))).astype(np.uint8)
    wrong = draw.integers(0, len(CLASSES), labels.shape)
    predicted = np.where(draw.random(labels.shape) < right, labels, wrong).astype(np.int16)
    labels[:, -4:] = IGNORED
    found: dict[str, Any] = {"images": images, "labels": labels, "predicted": predicted, "classes": np.array(CLASSES)}
    for stage in range(1, 5):
        weights = draw.random((2, side[0] >> stage, side[1] >> stage)) ** 4
        found[f"attention_stage{stage}"] = (weights / weights.sum(axis=(1, 2), keepdims=True)).astype(np.float16)
    return found


def write_scenes(folder: Path, others: list[TrackedRun] | None = None) -> RunTable:
    """Write the experiment as an exported folder, after ``others``, and read it back."""
    runs = compose_scenes()
    table = write_experiment([*(others or []), *runs], folder, features=False)
    for number, run in enumerate(runs):
        if "csg.cell" not in run.tags:
            continue
        (folder / run.run_id).mkdir()
        right = 0.7 if run.tags["csg.cell"] == "source only" else 0.85
        features = np.random.default_rng(number).normal(1, 1, (IMAGES, 8)).astype(np.float16)
        outputs = {"confusions": confusions(number, right), "features": features}
        np.savez_compressed(folder / run.run_id / OUTPUTS, allow_pickle=False, **outputs)
        made = pictures(right=right, seed=number)
        np.savez_compressed(folder / run.run_id / PICTURES, allow_pickle=False, **made)
    return table
