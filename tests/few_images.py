"""A pair of folders with few images, for tests of processes: they wait for what is tested, not for evaluations."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from tests.published_trees import write_folders

SMALL_ENCODER: Final = ("--model.name", "resnet10", "--model.weights", "none")
"""Flags of an encoder without grouped convolutions, which a CPU computes group by group in double precision."""
EXPERIMENT: Final = "folders"
"""The name of its MLflow experiment."""


def few_images(*, encoder: tuple[str, ...] = SMALL_ENCODER) -> tuple[str, ...]:
    """Return flags of a run on 90 synthetic training images of three classes, and about as many to evaluate on.

    The images of a process are written when it first asks; all its tests read the same, at 32 pixels a side. What is
    remembered of them lies below each run's output. ``encoder`` are the encoder's flags.
    """
    return *_write(), *encoder


@cache
def _write() -> tuple[str, ...]:
    root = Path(tempfile.mkdtemp(prefix="csg-few-images-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    source, target = write_folders(root, per_class=40)
    return (
        *("--data.name", "folders", "--data.source", str(source), "--data.target", str(target)),
        *("--data.source-val-fraction", "0.25", "--data.image-size", "32"),
    )
