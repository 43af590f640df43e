"""What a run would do, from its configuration alone: steps, learning rates, parameter groups, memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from csg.config import Config
from csg.data.pair import IGNORED
from csg.methods.method import Batch
from csg.tasks import find_task
from csg.training.loop import count_steps_per_epoch
from csg.training.optimiser import find_lr_factor
from csg.training.run import Run
from csg.training.step import Learner, make_learner

MEGABYTE = 1e6


@dataclass(frozen=True)
class Group:
    """One parameter group of the optimiser."""

    name: str
    tensors: int
    parameters: int
    lr_factor: float
    """On ``optim.lr``."""


@dataclass(frozen=True)
class DryRun:
    """The plan of a run."""

    steps_per_epoch: int
    total_steps: int
    learning_rates: dict[int, float]
    """Of the new head, by iteration (0 for the first)."""
    groups: tuple[Group, ...]
    memory: dict[str, float]
    """Megabytes by purpose; activations, the largest part, depend on the image size and are not among them."""


def plan_run(config: Config, *, images: int, classes: int, sources: int = 1) -> DryRun:
    """Plan a run over ``images`` source training images of ``sources`` sources without reading weights or images."""
    learner = _make_untrained(config, classes, sources)
    steps = images // config.train.batch_size
    total = steps * config.train.epochs
    return DryRun(
        steps_per_epoch=steps,
        total_steps=total,
        learning_rates={
            step: config.optim.lr * find_lr_factor(config, step, steps_per_epoch=steps)
            for step in _choose_steps(config, steps, total)
        },
        groups=tuple(
            Group(
                name=group["name"],
                tensors=len(group["params"]),
                parameters=sum(parameter.numel() for parameter in group["params"]),
                lr_factor=group["lr_factor"],
            )
            for group in learner.optimiser.param_groups
        ),
        memory=_count_memory(learner),
    )


def check_buildable(config: Config, *, classes: int, sources: int = 1) -> None:
    """Build what would be trained, with untrained weights, and compute the method's terms once.

    Raises:
        UserError: what only shows then, such as a teacher of another width or chunks that do not divide a map.
    """
    learner = _make_untrained(config, classes, sources)
    learner.model.eval()  # of a single image, a batch norm that trains has no variance
    side = config.data.image_size
    images = torch.zeros(1, 3, side, side, dtype=next(learner.model.parameters()).dtype)
    with torch.no_grad():
        nothing = torch.full((1,) if find_task(config.data).one_label else (1, side, side), IGNORED)
        none = torch.zeros(1, dtype=torch.int64)
        batch = Batch(images, images, nothing, indices=none, epoch=0, sources=none, source_count=sources)
        batch = learner.method.prepare(batch)
        learner.method.compute_terms(batch, learner.model(batch.query), learner.model)


def check_trainable(run: Run) -> None:
    """Check what shows before a run starts: that its images make a batch, and see :func:`check_buildable`.

    Raises:
        UserError: they do not, or what it says there.
    """
    count_steps_per_epoch(run.config, run.pair)
    check_buildable(run.config, classes=len(run.pair.classes), sources=run.pair.source_count)


def _make_untrained(config: Config, classes: int, sources: int) -> Learner:
    on_cpu = dataclasses.replace(config.train, device="cpu")
    return make_learner(dataclasses.replace(config, train=on_cpu), classes=classes, sources=sources, trained=False)


def _choose_steps(config: Config, steps_per_epoch: int, total: int) -> list[int]:
    """Choose iterations that show the schedule: the ends of probing and of the warm-up, quarters and end."""
    warmup = config.optim.warmup_steps if config.optim.schedule == "warmup_poly" else 0
    probing = steps_per_epoch * config.method.probing
    begun = {0, probing - 1, probing, probing + warmup // 2, probing + warmup}
    steps = {*begun, *(total * quarter // 4 for quarter in (1, 2, 3)), total - 1}
    return sorted(step for step in steps if 0 <= step < total)


def _count_memory(learner: Learner) -> dict[str, float]:
    trained = [parameter for group in learner.optimiser.param_groups for parameter in group["params"]]
    method = learner.method
    queues = [held for name, held in method.named_buffers() if name.startswith("queues.")]
    state = [*method.parameters(), *method.buffers()]
    optim = learner.config.optim
    # AdamW keeps two values a weight, SGD with momentum one; as published (lr_in_momentum) also with a momentum of 0.
    values = 2 if optim.name == "adamw" else int(optim.lr_in_momentum or optim.momentum > 0)
    averaging = learner.config.averaging
    newest = max(averaging.open_patience, averaging.close_patience)
    copies = {"none": 0, "swad": newest + 2, "wise_ft": 2}[averaging.name]
    megabytes = {
        "weights of the model": _count_megabytes(learner.model.state_dict().values()),
        "weights to average": copies * _count_megabytes(learner.model.state_dict().values()),
        "gradients": _count_megabytes(trained),
        "optimiser": values * _count_megabytes(trained),
        "queues": _count_megabytes(queues),
        "rest of the method": _count_megabytes(state) - _count_megabytes(queues),
        "frozen copies of encoders": sum(
            _count_megabytes(copy.state_dict().values()) for copy in method.frozen.values()
        ),
    }
    return {name: size for name, size in megabytes.items() if size > 0}


def _count_megabytes(tensors: Iterable[Tensor]) -> float:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / MEGABYTE
