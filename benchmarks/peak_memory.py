"""Peak memory of a training step: ``python -m benchmarks.peak_memory --method csg``.

Takes a few steps of one method through the production loop in this process, and prints the process's peak resident
memory, and how much of it the libraries alone take. Further settings follow as flags; for segmentation
``--image-size 512 --batch-size 6 --data.name gta5_cityscapes``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource

import numpy as np
import yaml

from benchmarks.step_time import random_pair, steps
from csg.data.maps.label_maps import CLASSES
from csg.data.maps.stream import ArrayMapStream
from csg.data.pair import Pair
from csg.parsing import config_from_flat
from csg.randomness import generator


def peak_megabytes() -> float:
    """Return the largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def random_maps(images: int, side: int) -> Pair:
    """Make a pair of noise with a class for every pixel."""
    rng = generator(0, "maps")
    pixels = rng.integers(0, 256, (images, side, side, 3), dtype=np.uint8)
    classes = rng.integers(0, len(CLASSES), (images, side, side), dtype=np.uint8)
    stream = ArrayMapStream(pixels, classes, side, mirror=True)
    names = ("source/train", "source/val", "source/shifted", "target/val", "target/test")
    return Pair("noise", CLASSES, dict.fromkeys(names, stream), flip_averaging=False, description="noise")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="csg")
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, default=3)
    arguments, rest = parser.parse_known_args()
    more = {name.removeprefix("--"): yaml.safe_load(text) for name, text in zip(rest[::2], rest[1::2], strict=True)}
    config = config_from_flat(
        {
            "method.name": arguments.method,
            "model.name": arguments.encoder,
            "model.weights": "none",
            "data.image_size": arguments.image_size,
            "data.source_images": max(10, arguments.batch_size),
            "train.batch_size": arguments.batch_size,
            "train.threads": arguments.threads,
            "train.epochs": arguments.steps,
            "optim.lr": 1e-4,
            **more,
        }
    )
    make = random_maps if config.data.task == "segmentation" else random_pair
    pair = make(arguments.batch_size, arguments.image_size)
    libraries = peak_megabytes()
    for _ in itertools.islice(steps(config, pair), arguments.steps):
        pass
    print(f"libraries  {libraries:6.0f} MB")
    print(f"peak       {peak_megabytes():6.0f} MB")


if __name__ == "__main__":
    main()
