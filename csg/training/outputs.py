"""What a finished run answered on target/test, image by image (``test_outputs.npz``): for bootstraps and figures."""

from __future__ import annotations

from typing import Final

import numpy as np

from csg.randomness import make_generator
from csg.storage.place import Place
from csg.tasks.measurement import Measurement

FEATURES_KEPT: Final = 1000
"""Images whose features are kept: enough for a picture of their density, 2.6 MB at 1,280 channels."""


def save_outputs(place: Place, measured: Measurement) -> None:
    """Write the task's answers on all N images by name, and ``features`` (M, C) of some.

    Classification's answers are ``labels`` and ``predicted`` (N,), segmentation's ``confusions`` (N, classes, classes),
    as int32; with a label an image, those of the kept features are repeated as ``feature_labels`` (M,). The same images
    in every run on the same data, so that runs can be compared image by image. Features are float16.
    """
    count = len(measured.features)
    kept = np.sort(make_generator(0, "features kept", count).permutation(count)[:FEATURES_KEPT])
    answers = {name: answer.numpy().astype(np.int32) for name, answer in measured.answers.items()}
    if "labels" in answers:
        answers["feature_labels"] = answers["labels"][kept]
    with place.open_replacement() as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            features=measured.features.float().numpy()[kept].astype(np.float16),
            **answers,
        )
