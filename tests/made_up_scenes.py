"""A tiny pair of domains with a class for every pixel, void here and there."""

from __future__ import annotations

import numpy as np

from csg.data.maps.label_maps import VOID
from csg.data.maps.shifted import ShiftedMaps
from csg.data.maps.stream import ArrayMapStream
from csg.data.pair import Pair

CLASSES = ("ground", "bar", "spot")


def made_up_scenes(side: int = 32, train: int = 24) -> Pair:
    """Noise with a bright bar and a dark spot; of every fourth image all but a corner is void, of others a stripe."""
    rng = np.random.default_rng(0)

    def stream(count: int, brightness: int) -> ArrayMapStream:
        pixels = rng.integers(60, 120, (count, 40, 48, 3), dtype=np.uint8)
        classes = np.zeros((count, 40, 48), dtype=np.uint8)
        for index in range(count):
            top, left = rng.integers(0, 24, 2)
            pixels[index, top : top + 10] += np.uint8(brightness)
            classes[index, top : top + 10] = 1
            pixels[index, 24:36, left : left + 12] = 10
            classes[index, 24:36, left : left + 12] = 2
            void = np.s_[index, 6:] if index % 4 == 0 else np.s_[index, :, : index % 4]
            classes[void] = VOID
        return ArrayMapStream(pixels, classes, side, mirror=True)

    source_val = stream(5, 100)
    return Pair(
        name="scenes",
        classes=CLASSES,
        streams={
            "source/train": stream(train, 100),
            "source/val": source_val,
            "source/shifted": ShiftedMaps(source_val),
            "target/val": stream(4, 60),
            "target/test": stream(7, 60),
        },
        flip_averaging=False,
        description="bars and spots on noise",
    )
