"""``csg evaluate``: measure the selected weights of a finished run, also on labelled sets that it never saw."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from csg.commands.evaluate_set import SetOptions, evaluate_set
from csg.commands.opening import open_run
from csg.data.held_out import HELD_OUT
from csg.data.pair import SOURCE_SHIFTED, SOURCE_VAL, TARGET_TEST, TARGET_VAL
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.text import make_one_line
from csg.parsing import parse_flags
from csg.tasks import find_task
from csg.tasks.measurement import Inference
from csg.training.evaluation import compute_energies, compute_figures
from csg.training.source_figures import compute_source_figures

STREAMS: Final = (SOURCE_VAL, SOURCE_SHIFTED, HELD_OUT, TARGET_VAL, TARGET_TEST)


@dataclasses.dataclass(frozen=True)
class EvaluateOptions(SetOptions):
    """Flags of ``csg evaluate``."""

    streams: tuple[str, ...] = ()
    """Streams to measure (default: source/val, source/shifted, and of held_out, target/val and target/test what there
    is)."""


def evaluate(argv: Sequence[str], console: Console) -> int:
    """Measure a run by its settings on its own streams, or runs by their weights on another labelled set.

    Returns:
        0, or 130 after Ctrl-C.
    """
    flags = parse_flags(
        EvaluateOptions,
        argv,
        prog="csg evaluate",
        description="Measure the selected weights of a finished run; with --checkpoint, on any labelled set.",
    )
    if flags.options.checkpoint:
        return evaluate_set(flags, console)
    if flags.options.name is not None or flags.options.tracking_uri is not None:
        raise UserError("--checkpoint: expected the weights of finished runs with --name or --tracking-uri, found none")
    run = open_run(flags.config, console, writing=False)
    streams = flags.options.streams or [stream for stream in STREAMS if stream in run.pair.streams]
    unknown = [stream for stream in streams if stream not in run.pair.streams]
    if unknown:
        raise UserError(f"--streams: expected some of {', '.join(run.pair.streams)}, found {', '.join(unknown)}")
    inference, task = Inference(run.load_selected_model(), flags.config), find_task(flags.config.data)
    for stream in streams:
        measured = task.measure(inference, flags.config, run.pair, stream)
        figures = compute_figures(stream, measured, flags.config) | compute_energies(stream, measured, flags.config)
        figures |= compute_source_figures(stream, measured, flags.config, run.pair)
        for name, value in figures.items():
            console.print(f"{make_one_line(name):<36} {value:.6g}")
    return 0
