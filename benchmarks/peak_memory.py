"""Peak memory of a training step: ``python -m benchmarks.peak_memory --method csg``.

A few steps of one method run through the production loop in this process. The output is the process's peak resident
memory, and the part of it that the libraries and the data take. Further settings follow as flags, for segmentation
``--image-size 512 --batch-size 6 --data.name gta5_cityscapes``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from benchmarks.step_time import make_random_pair, make_step_settings, time_steps
from csg.data.maps.label_maps import CLASSES
from csg.data.maps.stream import ArrayMapStream
from csg.data.pair import Pair
from csg.parsing import build_config
from csg.randomness import make_generator

STATUS: Final = Path("/proc/self/status")


def get_peak_megabytes() -> float:
    """Return the largest resident memory of this process so far; elsewhere than on Linux, or of what started it."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_random_maps(images: int, side: int) -> Pair:
    """Make a pair of noise with a class for every pixel."""
    rng = make_generator(0, "maps")
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
    parser.add_argument("--weights", default="none", help="with --encoder transformers: a folder")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, default=3)
    arguments, rest = parser.parse_known_args()
    more = {name.removeprefix("--"): yaml.safe_load(text) for name, text in zip(rest[::2], rest[1::2], strict=True)}
    config = build_config(
        {
            **make_step_settings(arguments),
            "method.name": arguments.method,
            "train.epochs": arguments.steps,
            **more,
        }
    )
    make = make_random_maps if config.data.task == "segmentation" else make_random_pair
    pair = make(arguments.batch_size, arguments.image_size)
    libraries = get_peak_megabytes()
    for _ in itertools.islice(time_steps(config, pair), arguments.steps):
        pass
    print(f"libraries  {libraries:6.0f} MB")
    print(f"peak       {get_peak_megabytes():6.0f} MB")


if __name__ == "__main__":
    main()
