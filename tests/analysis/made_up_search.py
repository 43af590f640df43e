"""Made-up searches: what a tracking store would hand back, without a store."""

from __future__ import annotations

from typing import Any

import numpy as np

from csg.tracking import TrackedRun
from csg.training.record import Status

SCORE = "target/val/mean_class_accuracy"
NAMES = [
    "method.stages",
    "method.temperature",
    "method.queue_size",
    "method.stage3.weight",
    "method.stage3.pooling",
    "optim.lr",
    "optim.backbone_lr_factor",
]


def made_up_run(
    number: int,
    params: dict[str, Any],
    scores: list[float],
    *,
    status: Status = "finished",
    role: str = "suggested",
) -> TrackedRun:
    """A trial with these settings and these scores of epochs 1, 2, ..."""
    return TrackedRun(
        run_id=f"run{number}",
        name=f"trial {number}",
        status=status,
        params=params,
        tags={"csg.trial": str(number), "csg.role": role},
        metrics={},
        history={SCORE: dict(enumerate(scores, start=1))},
    )


def made_up_search(suggested: int = 22, *, epochs: int = 9, seed: int = 0) -> list[TrackedRun]:
    """Two references and a search in which the temperature matters most; ASHA with rungs 1, 3 and 9."""
    draw = np.random.default_rng(seed)
    paper = {
        "method.name": "csg", "method.stages": "3+4", "method.temperature": 0.07, "method.queue_size": 65536,
        "method.stage3.weight": 0.1, "method.stage3.pooling": "apool",
    }  # fmt: skip
    published = {"optim.lr": 0.03, "optim.backbone_lr_factor": 0.1}
    plain = {"method.name": "source_only"} | published
    runs = [
        made_up_run(0, plain, list(np.linspace(0.55, 0.66, epochs)), role="source_only"),
        made_up_run(1, paper | published, list(np.linspace(0.57, 0.7, epochs)), role="default"),
    ]
    for number in range(2, 2 + suggested):
        params: dict[str, Any] = {
            "method.name": "csg",
            "method.stages": str(draw.choice(["4", "3+4", "2+3+4"])),
            "method.temperature": float(10 ** draw.uniform(-2.5, 0)),
            "method.queue_size": int(draw.choice([1024, 8192, 65536])),
            "optim.lr": float(10 ** draw.uniform(-2.7, -0.7)),
            "optim.backbone_lr_factor": float(draw.uniform(0.02, 0.5)),
        }
        if "3" in params["method.stages"]:
            params["method.stage3.weight"] = float(10 ** draw.uniform(-2, 0.5))
            params["method.stage3.pooling"] = str(draw.choice(["apool", "average"]))
        peak = 0.74 - 0.09 * (np.log10(params["method.temperature"]) + 1.1) ** 2 + draw.normal(0, 0.01)
        reached = int(draw.choice([1, 3, epochs], p=[0.3, 0.25, 0.45]))
        scores = [float(peak - 0.15 * 0.6**epoch) for epoch in range(reached)]
        status: Status = "finished" if reached == epochs else "stopped"
        if number % 9 == 5:
            scores, status = scores[: number % 2], "failed"
        runs.append(made_up_run(number, params, scores, status=status))
    return runs
