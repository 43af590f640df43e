"""A made-up experiment in an exported folder: ablations with features, searches, the motivating example."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.runs.run_table import RUNS, RunTable, read_runs
from csg.storage.layout import OUTPUTS, PICTURES
from csg.tracking import TrackedRun
from csg.training.record import Status

CLASSES, IMAGES, WIDTH = 10, 300, 16
CSG = {
    "method.name": "csg", "method.stages": "3+4", "method.temperature": 0.07, "method.stage3.weight": 0.1,
    "method.stage4.weight": 0.1, "optim.lr": 0.03,
}  # fmt: skip
SOURCE_ONLY = {"method.name": "source_only", "optim.lr": 0.03}
PLACE = {"data.name": "glyphs", "train.epochs": 3, "selection.protocol": "source", "selection.epoch": "last"}


def finished_run(
    run_id: str,
    params: Mapping[str, Any],
    draw: np.random.Generator,
    *,
    seed: int = 0,
    lift: float = 0.0,
    fingerprint: str = "data0",
    tags: Mapping[str, str],
) -> TrackedRun:
    """A finished run whose accuracy rises with ``lift``, and falls with its energy, up to noise."""
    real = float(np.clip(0.58 + lift + draw.normal(0, 0.015), 0, 1))
    e0 = float(0.25 - 2.5 * (real - 0.58) + draw.normal(0, 0.04))
    scores = {
        "selected/source/val/mean_class_accuracy": 0.9 + 0.3 * lift + draw.normal(0, 0.02),
        "selected/source/shifted/mean_class_accuracy": 0.8 + 0.6 * lift + draw.normal(0, 0.02),
        "selected/target/val/mean_class_accuracy": real + draw.normal(0, 0.01),
    }
    metrics = {
        **{name: float(value) for name, value in scores.items()},
        "source/val/mean_class_accuracy": float(scores["selected/source/val/mean_class_accuracy"]),
        "selection/score": float(scores["selected/source/val/mean_class_accuracy"]),
        "target/test/mean_class_accuracy": real,
        "target/test/accuracy": real,
        "target/test/images": float(IMAGES),
        "target/test/E0_mhe": e0,
        "target/test/E0_literal": e0 / 2,
        "target/test/E1": float(np.exp(e0 / 2) + draw.normal(0, 0.01)),
        "target/test/E2": float(np.exp(e0) + draw.normal(0, 0.02)),
    }
    own = {"csg.kind": "child", "csg.run": run_id, "commit": "c0", "source_digest": "p0", "status": "finished"}
    return TrackedRun(
        run_id=run_id,
        name=run_id,
        status="finished",
        params={**PLACE, **params, "train.seed": seed},
        tags={**own, "data.fingerprint": fingerprint, "seed": str(seed), **tags},
        metrics=metrics,
    )


def parent(kind: str, key: str, params: Mapping[str, Any], **tags: str) -> TrackedRun:
    """The run that others belong to."""
    own = {"csg.kind": kind, f"csg.{kind}": key, "commit": "c0"}
    return TrackedRun(f"{key}-parent", key, "running", dict(params), {**own, **tags}, {})


def ablation(
    design: str,
    cells: Mapping[str, Mapping[str, Any]],
    *,
    seeds: int,
    lifts: Sequence[float],
    title: str = "",
    fingerprints: Sequence[str] = (),
) -> list[TrackedRun]:
    """A parent, and a finished run of each cell and seed; the first cell is the base."""
    draw = np.random.default_rng(len(design))
    base = next(iter(cells))
    tags = {"csg.cells": json.dumps(dict.fromkeys(cells, base)), "csg.title": title or f"Made-up {design}"}
    made = [parent("ablation", f"{design}-0", {"design": design}, **tags)]
    for seed in range(seeds):
        for index, (name, params) in enumerate(cells.items()):
            own = {"csg.cell": name, "mlflow.parentRunId": made[0].run_id}
            where = fingerprints[index] if fingerprints else "data0"
            run_id = f"{design}-{index}-{seed}"
            made.append(finished_run(run_id, params, draw, seed=seed, lift=lifts[index], fingerprint=where, tags=own))
    return made


def search(key: str, *, suggested: int = 24, method: str = "csg") -> list[TrackedRun]:
    """A parent, two references, and suggested trials; every fourth of them was stopped early."""
    draw = np.random.default_rng(len(key) + suggested)
    names = ["method.temperature", "method.stage3.weight", "method.stage4.weight", "optim.lr"]
    tags = {"csg.score": "source/val/mean_class_accuracy", "csg.space": json.dumps(names)}
    made = [parent("search", key, {"selection.protocol": "source"}, **tags)]
    for number in range(suggested + 2):
        own = {"csg.trial": str(number), "mlflow.parentRunId": made[0].run_id}
        role = ("source_only", "default")[number] if number < 2 else "suggested"
        params: dict[str, Any] = dict(CSG if number else SOURCE_ONLY)
        lift = 0.0
        if role == "suggested":
            temperature = float(10 ** draw.uniform(-2, -0.3))
            params |= {name: float(10 ** draw.uniform(-2, 0)) for name in names[1:3]}
            params |= {"method.name": method, "method.temperature": temperature, "optim.lr": float(draw.uniform(0, 1))}
            lift = 0.06 - 0.1 * (np.log10(temperature) + 1.15) ** 2
        run = finished_run(f"{key}-{number}", params, draw, lift=float(lift), tags={**own, "csg.role": role})
        status: Status = "stopped" if role == "suggested" and number % 4 == 3 else "finished"
        made.append(dataclasses.replace(run, status=status))
    return made


def experiment() -> list[TrackedRun]:
    """Ablations of components, temperature and weights, two searches and the motivating example, the oldest first."""
    temperatures, weights = (0.01, 0.03, 0.07, 0.2, 0.5), (0.01, 0.03, 0.1, 0.3, 1.0)
    return [
        *ablation(
            "components",
            {
                "source only": SOURCE_ONLY,
                "+ contrastive (stage 4)": CSG | {"method.stages": "4"},
                "+ multi-layer (3 and 4)": CSG | {"method.x": "average"},
                "+ A-pool": CSG,
            },
            seeds=3,
            lifts=(0.0, 0.02, 0.03, 0.06),
        ),
        *ablation(
            "temperature",
            {f"tau {each:g}": CSG | {"method.temperature": each} for each in temperatures},
            seeds=5,
            lifts=(-0.06, 0.0, 0.05, 0.02, -0.04),
        ),
        *ablation(
            "weight",
            {f"lambda {each:g}": CSG | {f"method.stage{s}.weight": each for s in "34"} for each in weights},
            seeds=5,
            lifts=(0.0, 0.02, 0.05, 0.04, 0.0),
        ),
        *search("csg-source-seed0", suggested=40),
        *search("asg-source-seed0", suggested=14, method="asg"),
        *ablation(
            "motivating_example",
            {
                "ImageNet weights": {"method.name": "oracle_imagenet"},
                "trained on real": SOURCE_ONLY | {"data.trained_on": "target"},
                "trained on synthetic": SOURCE_ONLY | {"data.source_images": 300},
            },
            seeds=2,
            lifts=(-0.1, 0.1, 0.0),
            fingerprints=("data1", "data2", "data1"),
            title="ImageNet weights, and the same network trained on 300 real or 300 synthetic images",
        ),
    ]


def made_up_features(spread: float, seed: int) -> dict[str, np.ndarray]:
    """Features that cluster by class, the more the smaller ``spread`` is."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), IMAGES // CLASSES)
    centres = np.random.default_rng(0).normal(0, 1, (CLASSES, WIDTH)) + 1.5
    features = centres[labels] + draw.normal(0, spread, (IMAGES, WIDTH))
    return {
        "labels": labels.astype(np.int32),
        "predicted": labels.astype(np.int32),
        "features": features.astype(np.float16),
        "feature_labels": labels.astype(np.int32),
    }


def made_up_pictures(seed: int) -> dict[str, np.ndarray]:
    """Pictures of six images, the same for every seed, with the answers and the attention of one run."""
    scene, draw = np.random.default_rng(0), np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {
        "images": scene.integers(0, 256, (6, 3, 32, 32)).astype(np.uint8),
        "labels": scene.integers(0, CLASSES, 6).astype(np.int16),
        "predicted": draw.integers(0, CLASSES, 6).astype(np.int16),
    }
    for stage in range(1, 5):
        weights = draw.random((6, 16 >> stage, 16 >> stage))
        found[f"attention_stage{stage}"] = (weights / weights.sum(axis=(1, 2), keepdims=True)).astype(np.float16)
    return found


def write_experiment(runs: Sequence[TrackedRun], folder: Path, *, features: bool = True) -> RunTable:
    """Write runs as an exported folder, the cells of ablations with features and pictures, and read it back."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, run in enumerate(runs):
        plain = {key: getattr(run, key) for key in ("run_id", "name", "status", "params", "tags", "metrics")}
        lines.append(json.dumps({"experiment": "glyphs", **plain}))
        if features and "csg.cell" in run.tags and run.status == "finished":
            (folder / run.run_id).mkdir(exist_ok=True)
            spread = 0.4 + 6 * max(run.metrics["target/test/mean_class_accuracy"] - 0.5, 0)
            np.savez_compressed(folder / run.run_id / OUTPUTS, allow_pickle=False, **made_up_features(spread, number))
            np.savez_compressed(folder / run.run_id / PICTURES, allow_pickle=False, **made_up_pictures(number))
    (folder / RUNS).write_text("".join(f"{line}\n" for line in lines))
    return read_runs(experiment="glyphs", tracking_uri="", exported=folder)
