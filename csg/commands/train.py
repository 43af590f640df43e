"""``csg train``: train one configuration, continue its training, or show its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from csg.commands.figures import print_figures
from csg.commands.next_commands import find_program, print_next, show_in_mlflow
from csg.commands.opening import open_run
from csg.commands.remarks import print_remarks, remark_on_chance, remark_on_idle_selection, remark_on_warmup
from csg.commands.tracked_training import check_store, make_unrecorded_error, open_tracker, train_to_end
from csg.config import Config
from csg.config.flags import drop_flag
from csg.config.settings import find_places
from csg.data import load_pair
from csg.data.held_out import HELD_OUT
from csg.data.pair import SOURCE_TRAIN
from csg.data.pairs import visda17
from csg.messages.console import Console
from csg.messages.text import quote_for_shell
from csg.messages.wording import pluralize
from csg.parsing import StoreOptions, parse_flags
from csg.storage.layout import RECORD, reach_addresses
from csg.training.dry_run import plan_run
from csg.training.loop import count_steps_per_epoch
from csg.training.protocol import check_protocol, check_streams
from csg.training.run import Run


@dataclasses.dataclass(frozen=True)
class TrainOptions(StoreOptions):
    """Flags of ``csg train``."""

    tracking_uri: str | None = None
    """MLflow store or server (default: SQLite below --train.output), or "none"."""
    dry_run: bool = False
    """Print the plan (iterations, learning rates, parameter groups, memory) and train nothing; needs no weights, and
    visda17 no data."""


def train(argv: Sequence[str], console: Console) -> int:
    """Train one configuration, continue its training, or show its result."""
    flags = parse_flags(TrainOptions, argv, prog="csg train", description="Train and measure one configuration.")
    print_remarks([remark_on_idle_selection(flags.config, flags.given)], console)
    if flags.options.dry_run:
        return _show_plan(flags.config, console)
    uri, experiment = flags.options.tracking_uri, flags.options.experiment
    check_store(flags.config, uri=uri, experiment=experiment)
    run = open_run(flags.config, console)
    if flags.config.selection.protocol == "held_out_source" and HELD_OUT not in run.pair.streams:
        console.print(
            "This training is on all sources; under held_out_source those without each (data.held_out) score."
        )
    track = open_tracker(run, uri=uri, experiment=experiment)
    recorded = train_to_end(run, track, console)
    _print_end(run, console)
    shown = {"All figures": show_in_mlflow(track.uri, track.page) if track and recorded else str(run.folder / RECORD)}
    print_next(_list_next(run, argv) | shown, console)
    if not recorded:
        raise make_unrecorded_error(track)
    return 0


def _print_end(run: Run, console: Console) -> None:
    """Print what the run came to, with a remark where that is nothing."""
    print_figures(run, console)
    print_remarks([remark_on_chance(run.record.final, run.config, run.pair)], console)


def _list_next(run: Run, argv: Sequence[str]) -> dict[str, str]:
    """Return what may come next, as commands by what they do."""
    program, weights = find_program("csg"), quote_for_shell(str(run.selected))
    again = " ".join(map(quote_for_shell, drop_flag(argv, "train.seed")))
    return {
        "Another seed": " ".join(filter(None, (program, "train", again, f"--train.seed {run.config.train.seed + 1}"))),
        "Predict": f"{program} predict FOLDER --checkpoint {weights}",
        "Export": f"{program} export --checkpoint {weights} --output model.onnx",
    }


def _show_plan(config: Config, console: Console) -> int:
    if config.data.name == "visda17" and config.data.root is None:
        images, classes, sources = visda17.count_published_train_images(config.data), len(visda17.CLASSES), 1
        console.print(f"data.root is not set: counts are the published ones of {visda17.describe_images(config.data)}")
    else:
        reach_addresses(find_places(config.data, "read", "data."))
        pair = load_pair(config.data)
        check_streams(pair)
        check_protocol(config, pair)
        count_steps_per_epoch(config, pair)
        images, classes, sources = len(pair.streams[SOURCE_TRAIN]), len(pair.classes), pair.source_count
        console.print(pair.description)
    plan = plan_run(config, images=images, classes=classes, sources=sources)
    lines = [
        config.summary,
        f"{pluralize(images, 'source training image')} / batches of {config.train.batch_size} = "
        f"{pluralize(plan.steps_per_epoch, 'iteration')} per epoch (the last incomplete batch is dropped); "
        f"{pluralize(config.train.epochs, 'epoch')} = {pluralize(plan.total_steps, 'iteration')}",
        "learning rate of the new head by iteration (other groups: times their factor):",
        *(f"  {step:>9,}  {rate:.3e}" for step, rate in plan.learning_rates.items()),
        "parameter groups:",
        *(
            f"  {group.name:<8} {pluralize(group.tensors, 'tensor'):>12} "
            f"{pluralize(group.parameters, 'parameter'):>23}   factor {group.lr_factor:g}"
            for group in plan.groups
        ),
        "memory, beside activations:",
        *(f"  {purpose:<26} {size:9,.1f} MB" for purpose, size in plan.memory.items()),
    ]
    for line in lines:
        console.print(line)
    print_remarks([remark_on_warmup(config, images=images)], console)
    return 0
