"""``csg train``: train one configuration, continue its training, or show its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from csg.commands.opening import open_run
from csg.commands.progress import CountProgress
from csg.config import Config
from csg.data import load_pair
from csg.data.held_out import HELD_OUT
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL, TARGET_VAL
from csg.data.pairs import visda17
from csg.messages.console import Console
from csg.messages.faults import find_outside_fault
from csg.messages.text import get_first_line, make_one_line
from csg.messages.wording import is_or_are, pluralize
from csg.parsing import StoreOptions, parse_flags
from csg.tasks import find_task
from csg.training.dry_run import plan_run
from csg.training.loop import EpochReport
from csg.workers.run import train_run

if TYPE_CHECKING:
    from csg.tracking import RunTracker


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
    if flags.options.dry_run:
        return _show_plan(flags.config, console)
    run = open_run(flags.config, console)
    if flags.config.selection.protocol == "held_out_source" and HELD_OUT not in run.pair.streams:
        console.print(
            "This training is on all sources; under held_out_source those without each (data.held_out) score."
        )
    options = flags.options
    track: RunTracker | None = None
    uri = options.tracking_uri or ""
    if options.tracking_uri != "none":
        from csg import tracking

        uri = uri or tracking.get_default_tracking_uri(flags.config.train.output)
        try:
            store = tracking.Tracker(uri, options.experiment or flags.config.data.name)
            track = tracking.RunTracker(store, run)
        except tracking.TrackingError as error:
            raise tracking.make_recording_error(get_first_line(str(error)), tracking.describe_refusal(error)) from None
    known, epochs = len(run.record.epochs), flags.config.train.epochs
    if known:
        of_all = f"{known} of {pluralize(epochs, 'epoch')} {is_or_are(epochs)}"
        console.print(f"{of_all} on record in {run.folder}")
    try:
        with CountProgress(console, doing="training steps", line="step {}/{}".format, lines=20) as progress:
            for report in train_run(run, progress, lambda text: console.print(text, style="yellow")):
                console.print(_format_epoch(report, flags.config))
                _log(track, console)
        final = run.finish()
    except KeyboardInterrupt:
        run.close("interrupted")
        console.print("Interrupted. The same command goes on from the last checkpoint.")
        return 130
    except Exception as error:
        fault = find_outside_fault(error)
        if fault is not None:
            raise fault from error  # the run is not to blame, and its record stays as it is
        run.fail(error)
        raise
    finally:
        recorded = _log(track, console)
    for name, value in final.items():
        console.print(f"{make_one_line(name):<36} {value:.6g}")
    console.print(f"weights: {run.selected}")
    if track is not None and not recorded:
        raise tracking.make_recording_error(uri, track.refusal)
    return 0


def _show_plan(config: Config, console: Console) -> int:
    if config.data.name == "visda17" and config.data.root is None:
        images, classes, sources = visda17.published_train_images(config.data), len(visda17.CLASSES), 1
        console.print(f"data.root is not set: counts are the published ones of {visda17.title(config.data)}")
    else:
        pair = load_pair(config.data)
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
    return 0


def _log(track: RunTracker | None, console: Console) -> bool:
    """Write what the store lacks, and return whether it has all. Training goes on if the store does not answer."""
    if track is None:
        return True
    before = track.refusal
    if track.try_to_log():
        return True
    if not before or track.refusal != before:
        said = track.refusal or "The MLflow store is away; the next epoch, or the same command again, fills it in."
        console.print(said)
    return False


def _format_epoch(report: EpochReport, config: Config) -> str:
    metrics, score = report.metrics, find_task(config.data).score
    figures = [f"loss {metrics['train/loss']:.3f}"]
    figures += [
        f"{stream} {100 * metrics[f'{stream}/{score}']:.1f} %"
        for stream in (SOURCE_VAL, SOURCE_SHIFTED, HELD_OUT, TARGET_VAL)
        if f"{stream}/{score}" in metrics
    ]
    energy = metrics.get(f"{TARGET_VAL}/E0_mhe")
    if energy is not None:  # absent if features are not finite, or all zero
        figures.append(f"E_0 (mhe) {energy:.3f}")
    figures.append(f"{metrics['train/images_per_second']:.0f} images/s")
    return f"epoch {report.epoch}: " + ", ".join(figures)
