"""Time and memory of a step of each row of the design ``rivals``: ``python -m benchmarks.rival_steps``.

Every round trains each row for one epoch of a few steps through the production loop, one row after the other, so that
what else the machine does falls on all alike. The output is, for each row, the median over the rounds of a step's
milliseconds, and of its ratio to a source-only step of the same round. Rows whose averaging measures a loss on
source/val do so once an epoch, on a tenth as many images as are trained on. Memory is by how much an epoch raises the
peak resident memory of a process of its own, which an epoch of source only has raised before.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.peak_memory import get_peak_megabytes
from benchmarks.step_time import make_random_pair, make_step_settings, time_steps
from csg.config import Config
from csg.config.settings import flatten
from csg.data.pair import Pair
from csg.parsing import build_config, overlay
from tune_spaces.designs.shipped import make_rivals

WARM_UP = 2
"""Rounds that do not count; a method's first epoch may differ from the others."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet10")
    parser.add_argument("--weights", default="none", help="with --encoder transformers: a folder")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10, help="of an epoch")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    images = arguments.steps * arguments.batch_size
    shared = make_step_settings(arguments) | {
        "data.source_images": images,
        "train.epochs": arguments.rounds + WARM_UP,
        "averaging.evaluations_per_epoch": 1,
    }
    pair = make_random_pair(images, arguments.image_size, others=max(1, images // 10))
    pair = dataclasses.replace(pair, sources=("one", "another"))
    rivals = make_rivals("glyphs", "mnist")
    configs = {cell.name: build_config(overlay(flatten(build_config(shared)), cell.changes)) for cell in rivals.cells}
    trainings = {name: time_steps(config, pair) for name, config in configs.items()}
    rounds = [
        {name: next(seconds) / arguments.steps for name, seconds in trainings.items()}
        for _ in range(arguments.rounds + WARM_UP)
    ][WARM_UP:]
    print(
        f"{arguments.encoder}, {arguments.image_size}x{arguments.image_size}, batch {arguments.batch_size}, "
        f"{arguments.threads} threads, {arguments.rounds} rounds of {arguments.steps} steps"
    )
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        base = configs[rivals.base]
        memory = {name: processes.submit(measure_memory, base, each, pair).result() for name, each in configs.items()}
    longest = max(map(len, trainings))
    for name in trainings:
        milliseconds = 1000 * statistics.median(times[name] for times in rounds)
        ratio = statistics.median(times[name] / times[rivals.base] for times in rounds)
        print(f"{name:<{longest}} {milliseconds:8.1f} ms {ratio:6.2f} {memory[name]:+6.0f} MB")


def measure_memory(base: Config, config: Config, pair: Pair) -> float:
    """Return by how many megabytes an epoch raises this process's peak beyond that of an epoch of ``base``."""
    next(time_steps(base, pair))
    before = get_peak_megabytes()
    next(time_steps(config, pair))
    return get_peak_megabytes() - before


if __name__ == "__main__":
    main()
