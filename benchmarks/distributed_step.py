"""The cost of sharing a step among workers: ``python -m benchmarks.distributed_step``.

Steps of CSG with the same global batch are timed in one process, and in 2 or more processes that exchange gradients and
keys over gloo on this machine, with one thread each. The output is the median step of each, and the speed-up of the
workers over one process with one thread, and over one process with as many threads as there are workers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import statistics
import subprocess
import sys
import time

import torch.distributed as dist

from benchmarks.step_time import make_random_pair
from csg.messages.wording import pluralize
from csg.parsing import build_config
from csg.training.loop import Training, fit


def time_step(arguments: argparse.Namespace, *, workers: int, threads: int) -> float:
    """Return the median seconds of a step, in this process or with its group."""
    config = build_config(
        {
            "model.name": arguments.encoder,
            "model.weights": "none",
            "data.image_size": arguments.image_size,
            "data.source_images": arguments.batch_size * arguments.steps,
            "train.batch_size": arguments.batch_size,
            "train.epochs": 1,
            "train.threads": threads,
            "train.workers": workers,
        }
    )
    times: list[float] = []
    training = Training(config, make_random_pair(arguments.batch_size * arguments.steps, arguments.image_size))
    for _ in fit(training, on_step=lambda *_: times.append(time.perf_counter())):
        pass
    return statistics.median(after - before for before, after in itertools.pairwise(times[1:]))


def time_group(workers: int) -> float:
    """Return the median seconds of a step in a group of processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.distributed_step", *sys.argv[1:], "--group", str(workers), str(port)]
    processes = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(workers)]
    outputs = [process.communicate()[0] for process in processes]
    return float(json.loads(outputs[0].splitlines()[-1]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="efficientnet_lite0")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--group", type=int, nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.group:
        workers, port, rank = arguments.group
        where = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=where, rank=rank, world_size=workers)
        print(json.dumps(time_step(arguments, workers=workers, threads=1)))
        dist.destroy_process_group()
        return
    alone = time_step(arguments, workers=1, threads=1)
    threaded = time_step(arguments, workers=1, threads=arguments.workers)
    together = time_group(arguments.workers)
    print(f"one process, 1 thread     {1e3 * alone:8.0f} ms")
    print(f"one process, {arguments.workers} threads    {1e3 * threaded:8.0f} ms")
    print(f"{pluralize(arguments.workers, 'worker')}, 1 thread each {1e3 * together:8.0f} ms")
    print(f"gain over 1 thread        {alone / together:8.2f}")
    print(f"gain over {arguments.workers} threads       {threaded / together:8.2f}")


if __name__ == "__main__":
    main()
