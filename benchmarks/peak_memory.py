"""Peak memory of a training step: ``python -m benchmarks.peak_memory --method csg``.

Takes a few steps of one method through the production loop in this process, and prints the process's peak resident
memory, and how much of it the libraries alone take.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource

from benchmarks.step_time import random_pair, steps
from csg.parsing import config_from_flat


def peak_megabytes() -> float:
    """Return the largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="csg")
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
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
        }
    )
    pair = random_pair(arguments.batch_size, arguments.image_size)
    libraries = peak_megabytes()
    for _ in itertools.islice(steps(config, pair), arguments.steps):
        pass
    print(f"libraries  {libraries:6.0f} MB")
    print(f"peak       {peak_megabytes():6.0f} MB")


if __name__ == "__main__":
    main()
