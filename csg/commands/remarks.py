"""What a person would want to know of a run that can be trained all the same, in a sentence each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from csg.config import Config
from csg.config.settings import format_flag
from csg.data.pair import SOURCE_VAL, TARGET_TEST, Pair
from csg.messages.console import Console
from csg.messages.wording import pluralize
from csg.tasks import find_task
from csg.training.optimiser import find_lr_factor
from csg.training.score_words import compute_wilson, describe_score


def print_remarks(remarks: Collection[str], console: Console) -> None:
    """Print the remarks that are not empty, a line each."""
    for remark in filter(None, remarks):
        console.print(remark, style="yellow")


def remark_on_warmup(config: Config, *, images: int) -> str:
    """Say that a warm-up does not end within a run over ``images`` training images; empty where it does."""
    optim, steps_per_epoch = config.optim, images // config.train.batch_size
    probing, total = (steps_per_epoch * epochs for epochs in (config.method.probing, config.train.epochs))
    if optim.schedule != "warmup_poly" or probing >= total > 0 or optim.warmup_steps < total - probing:
        return ""
    steps = range(probing, total)
    those = f"{pluralize(len(steps), 'step')} {'that follow the probing' if probing else 'of the run'}"
    highest = max((find_lr_factor(config, step, steps_per_epoch=steps_per_epoch) for step in steps), default=0.0)
    return (
        f"optim.warmup_steps: a warm-up of {pluralize(optim.warmup_steps, 'step')} does not end within the {those}, "
        f"whose learning rate reaches {100 * highest:.0f} % of optim.lr at most; use a shorter warm-up or more epochs"
    )


def remark_on_idle_selection(config: Config, given: Collection[str]) -> str:
    """Say that a flag about selection selects nothing in a single run; empty where it does, or none was given."""
    flags = [name for name in ("selection.protocol", "selection.validator") if name in given]
    if not flags or config.selection.epoch == "best" or config.selection.protocol == "held_out_source":
        return ""  # of a held-out source the command itself says what it means
    return (
        f"{format_flag(flags[0])} selects nothing in a single training, which measures the last epoch's weights; "
        f"--selection.epoch best measures those of the epoch with the best {describe_score(config)}"
    )


def remark_on_chance(metrics: Mapping[str, float], config: Config, pair: Pair) -> str:
    """Say that a finished run's answers cannot be told from chance; empty where they can, or it maps classes.

    Args:
        metrics: of the finished run.
        config: its configuration.
        pair: its data.
    """
    task, classes = find_task(config.data), len(pair.classes)

    def is_chance(metric: str, images: float) -> bool:
        return metric in metrics and images > 0 and compute_wilson(metrics[metric], int(images))[0] <= 1 / classes

    if not task.one_label:
        return ""
    chance = f"cannot be told from chance, {100 / classes:.3g} % with {pluralize(classes, 'class')}"
    if is_chance(f"selected/{SOURCE_VAL}/{task.score}", len(pair.streams[SOURCE_VAL])):
        return (
            f"The {task.score_words} on held-out synthetic images {chance}: perhaps nothing was learned; try more "
            "epochs, another optim.lr, or more images to measure on"
        )
    if is_chance(task.real_score, metrics.get(f"{TARGET_TEST}/images", 0.0)):
        return f"The {task.score_words} on real images {chance}: perhaps nothing of what was learned reaches them"
    return ""
