"""What a finished run answered on target/test, image by image (``test_outputs.npz``): for bootstraps and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from csg.randomness import generator
from csg.storage import replacing
from csg.training.evaluation import Measurement

OUTPUTS: Final = "test_outputs.npz"
FEATURES_KEPT: Final = 1000
"""Images whose features are kept: enough for a picture of their density, 2.6 MB at 1,280 channels."""


def save_outputs(path: Path, measured: Measurement) -> None:
    """Write ``labels`` and ``predicted`` (N,) of all images, ``features`` (M, C) and ``feature_labels`` (M,) of some.

    The same images in every run on the same data, so that runs can be compared image by image. Features are float16.
    """
    labels, count = measured.labels.numpy(), len(measured.labels)
    kept = np.sort(generator(0, "features kept", count).permutation(count)[:FEATURES_KEPT])
    with replacing(path) as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            labels=labels.astype(np.int32),
            predicted=measured.predicted.numpy().astype(np.int32),
            features=measured.features.float().numpy()[kept].astype(np.float16),
            feature_labels=labels[kept].astype(np.int32),
        )
