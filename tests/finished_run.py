"""A finished run of a tiny network, for tests of what is done with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from PIL import Image

from csg.data.pair import Pair
from csg.parsing import build_config
from csg.training.run import Run
from tests.made_up_pair import TINY, labelled, made_up_pair

LEARNS: Final = {
    "method.name": "source_only",
    "model.frozen_statistics": False,
    "optim.backbone_lr_factor": 1.0,
    "train.epochs": 4,
}
"""Settings under which the tiny network tells the bars apart (and their mirror images less well)."""


def new_run(output: Path, pair: Pair | None = None, **settings: object) -> Run:
    """Open a run of four epochs; a setting's dots are written as ``__``."""
    base = {name: value for name, value in TINY.items() if not name.startswith("method.")}
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return Run(build_config({**base, **LEARNS, "train.output": str(output), **named}), pair or made_up_pair())


def finished_run(output: Path, pair: Pair | None = None, **settings: object) -> Run:
    """Train a run of :func:`new_run`."""
    run = new_run(output, pair, **settings)
    for _ in run.train():
        pass
    run.finish()
    return run


def write_images(folder: Path, pair: Pair, stream: str) -> None:
    """Write a stream's images as grey PNG files, in a folder a class."""
    images = labelled(pair, stream).load_images(torch.arange(len(pair.streams[stream])))
    for index, (image, label) in enumerate(zip(images, labelled(pair, stream).labels.tolist(), strict=True)):
        path = folder / pair.classes[label] / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)
