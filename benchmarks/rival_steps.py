"""Time and memory of a step of each row of the design ``rivals``: ``python -m benchmarks.rival_steps``.

Every round trains each row for one short epoch through the production loop, one row after the other, so that what else
the machine does falls on all alike. An epoch is as long as SWAD trains between two looks at its loss on source/val, so
that one look belongs to it. Settings that all rows share may be given, such as ``--data.name glyph_scenes``; how many
images and epochs there are is the script's own. The output is, for each row, the median over the rounds of a step's
milliseconds, and of its ratio to a source-only step of the same round. Memory is by how much an epoch raises the peak
resident memory of a process of its own, which an epoch of source only has raised before.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.peak_memory import get_peak_megabytes
from benchmarks.step_time import time_steps
from csg.commands.script import run_script
from csg.config import Config
from csg.config.settings import Count, flatten
from csg.data import load_pair
from csg.data.pair import SOURCE_TRAIN
from csg.messages.console import Console
from csg.parsing import ConfigOptions, build_config, overlay, parse_flags
from tune_spaces.designs.shipped import make_rivals

WARM_UP = 2
"""Rounds that do not count; a method's first epoch may differ from the others."""


@dataclasses.dataclass(frozen=True)
class RivalOptions(ConfigOptions):
    """Flags of the script."""

    rounds: Count = 10
    """Short epochs of each row that count."""


def main() -> int:
    """Measure and print; see :func:`~csg.commands.script.run_script` for the exit code."""
    return run_script(measure)


def measure(console: Console) -> bool:
    """Do the work of the script.

    Raises:
        UserError: a flag, a setting or the data cannot be used.
    """
    start = {"method.name": "source_only"}
    flags = parse_flags(RivalOptions, sys.argv[1:], prog="rival_steps", description=__doc__ or "", base=start)
    rounds = flags.options.rounds
    data, train, model = flags.config.data, flags.config.train, flags.config.model
    images = len(load_pair(data).streams[SOURCE_TRAIN]) // flags.config.averaging.evaluations_per_epoch
    steps = max(1, images // train.batch_size)
    short_epochs = {
        "data.source_images": steps * train.batch_size,
        "train.epochs": rounds + WARM_UP,
        "averaging.evaluations_per_epoch": 1,
        "averaging.close_patience": rounds + WARM_UP,  # so that SWAD looks to the end
    }
    shared = overlay(flatten(flags.config), short_epochs)
    rivals = make_rivals(data.name, model.weights)
    configs = {cell.name: build_config(overlay(shared, cell.changes)) for cell in rivals.cells}
    trainings = {name: time_steps(config, load_pair(config.data)) for name, config in configs.items()}

    def time_round() -> dict[str, float]:
        """Train each row for an epoch, and return the seconds of a step."""
        return {name: next(seconds) / steps for name, seconds in trainings.items()}

    for _ in range(WARM_UP):
        time_round()
    times = [time_round() for _ in range(rounds)]
    console.print(
        f"{data.name}: {model.name}, {data.image_size}x{data.image_size}, batch {train.batch_size}, "
        f"{train.threads} threads, {rounds} rounds of {steps} steps"
    )
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        measured = [processes.submit(measure_memory, configs[rivals.base], each) for each in configs.values()]
        memory = dict(zip(configs, (each.result() for each in measured), strict=True))
    longest = max(map(len, trainings))
    for name in trainings:
        milliseconds = 1000 * statistics.median(each[name] for each in times)
        ratio = statistics.median(each[name] / each[rivals.base] for each in times)
        console.print(f"{name:<{longest}} {milliseconds:8.1f} ms {ratio:6.2f} {memory[name]:+6.0f} MB")
    return True


def measure_memory(base: Config, config: Config) -> float:
    """Return by how many megabytes an epoch raises this process's peak beyond that of an epoch of ``base``."""
    next(time_steps(base, load_pair(base.data)))
    before = get_peak_megabytes()
    next(time_steps(config, load_pair(config.data)))
    return get_peak_megabytes() - before


if __name__ == "__main__":
    sys.exit(main())
