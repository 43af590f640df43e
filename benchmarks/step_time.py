"""The cost of a CSG step compared with a source-only step: ``python benchmarks/step_time.py``.

Every round takes one step of CSG and one of source only through the production loop, including two views, RandAugment,
A-pool and the optimiser. It also takes two inference passes through an encoder with folded batch norm, which is the
least that CSG can add. The last two lines are medians over the rounds:

    floor_ratio   CSG step / (source-only step + two inference passes)
    ratio         CSG step / source-only step
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from csg.config import Config
from csg.data.pair import ArrayStream, Pair
from csg.models.folding import FoldedEncoder
from csg.models.weights import load_encoder
from csg.parsing import build_config
from csg.tasks.measurement import to_input
from csg.training.loop import Training, fit

CLASSES = 12


def make_random_pair(images: int, size: int) -> Pair:
    """Make a pair of noise, with ``images`` images to train on and one in every other stream."""
    draw = torch.Generator().manual_seed(0)

    def make_stream(count: int) -> ArrayStream:
        grey = torch.randint(0, 256, (count, size, size), dtype=torch.uint8, generator=draw)
        return ArrayStream(grey, torch.randint(0, CLASSES, (count,), generator=draw))

    names = ("source/val", "source/shifted", "target/val", "target/test")
    return Pair(
        name="noise",
        classes=tuple(str(label) for label in range(CLASSES)),
        streams={"source/train": make_stream(images)} | {name: make_stream(1) for name in names},
        flip_averaging=False,
        description="noise",
    )


def time_steps(config: Config, pair: Pair) -> Iterator[float]:
    """Yield the seconds that each epoch trained."""
    for report in fit(Training(config, pair)):
        yield report.metrics["train/seconds"]


def make_step_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a training of noise."""
    return {
        "model.name": arguments.encoder,
        "model.weights": arguments.weights,
        "data.image_size": arguments.image_size,
        "data.source_images": max(10, arguments.batch_size),
        "train.batch_size": arguments.batch_size,
        "train.threads": arguments.threads,
        "optim.lr": 1e-4,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--weights", default="none", help="with --encoder transformers: a folder")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--queue-size", type=int, default=65536)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    shared = make_step_settings(arguments) | {
        "train.device": arguments.device,
        "train.epochs": arguments.rounds + 2,
    }
    csg = build_config(shared | {"method.stages": "3+4", "method.queue_size": arguments.queue_size})
    source_only = build_config(shared | {"method.name": "source_only"})
    pair = make_random_pair(arguments.batch_size, arguments.image_size)
    with_csg, without = time_steps(csg, pair), time_steps(source_only, pair)
    encoder = load_encoder(source_only.model, seed=source_only.train.seed).to(arguments.device)
    encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    folded = FoldedEncoder(encoder)
    images = pair.streams["source/train"].read(torch.arange(arguments.batch_size)).views[0]
    batch = to_input(Training(source_only, pair).learner.model, source_only, images)

    def time_passes() -> float:
        began = time.perf_counter()
        for _ in range(2):
            folded(batch)
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    rounds = [(next(with_csg), next(without), time_passes()) for _ in range(arguments.rounds + 2)][2:]
    step, plain, inference = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(
        f"{arguments.encoder}, {arguments.image_size}x{arguments.image_size}, batch {arguments.batch_size}, "
        f"K = {arguments.queue_size}, {arguments.threads} threads, {arguments.device}, {arguments.rounds} rounds"
    )
    print(f"csg step         {1000 * step:8.1f} ms")
    print(f"source-only step {1000 * plain:8.1f} ms")
    print(f"two passes       {1000 * inference:8.1f} ms")
    print(f"floor_ratio {statistics.median(s / (p + i) for s, p, i in rounds):.3f}")
    print(f"ratio {statistics.median(s / p for s, p, _ in rounds):.3f}")


if __name__ == "__main__":
    main()
