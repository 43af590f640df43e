"""``csg evaluate``: measure the selected weights of a finished run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from csg.commands.opening import open_run
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.parsing import ConfigOptions, parse_flags
from csg.tasks import find_task
from csg.tasks.measurement import Inference
from csg.training.evaluation import compute_energies, compute_figures


@dataclasses.dataclass(frozen=True)
class EvaluateOptions(ConfigOptions):
    """Flags of ``csg evaluate``."""

    streams: tuple[str, ...] = ("source/val", "source/shifted", "target/val", "target/test")
    """Streams to measure."""


def evaluate(argv: Sequence[str], console: Console) -> int:
    """Measure the selected weights of a finished run."""
    flags = parse_flags(
        EvaluateOptions, argv, prog="csg evaluate", description="Measure the selected weights of a finished run."
    )
    run = open_run(flags.config, console, writing=False)
    unknown = [stream for stream in flags.options.streams if stream not in run.pair.streams]
    if unknown:
        raise UserError(f"--streams: expected some of {', '.join(run.pair.streams)}, found {', '.join(unknown)}")
    inference, task = Inference(run.selected_model(), flags.config), find_task(flags.config.data)
    for stream in flags.options.streams:
        measured = task.measure(inference, flags.config, run.pair, stream)
        for name, value in (
            compute_figures(stream, measured, flags.config) | compute_energies(stream, measured, flags.config)
        ).items():
            console.print(f"{name:<36} {value:.6g}")
    return 0
