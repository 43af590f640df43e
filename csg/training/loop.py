"""The training loop: a generator of epoch reports. Stopping it is not iterating further."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from csg.collective import ask_first, check_agreement, get_own_slice, get_world_size, sum_over_processes
from csg.config import Config
from csg.data.balance import balance_stream, draw_order
from csg.data.pair import SOURCE_TRAIN, Pair
from csg.data.reading.loading import admit, map_in_order
from csg.data.views.augmentation import Views, draw_views
from csg.messages.errors import BadDataError, UserError
from csg.messages.wording import pluralize
from csg.methods.method import Batch
from csg.models.model import Model
from csg.storage.place import Place
from csg.tasks import find_task
from csg.tasks.measurement import to_input
from csg.training.averaging import make_averaging
from csg.training.checkpoint import Checkpoint
from csg.training.evaluation import measure_validation
from csg.training.optimiser import find_lr_factor
from csg.training.step import Learner, make_learner
from csg.training.unlabelled import UnlabelledScores

OnStep = Callable[[int, int], None]
"""Called after every step, and after its state was saved where that was due, with the steps done and those in all."""
OnWait = Callable[[str], None]
"""Called with a line for people when workers wait for machines, and when they go on."""
Stop = Callable[[], bool]
"""Asked after every step, on the first process of a group: whether to stop."""


@dataclass(frozen=True)
class EpochReport:
    """What one epoch showed."""

    epoch: int
    """1 for the first."""
    metrics: dict[str, float]
    """By name: train/..., source/val/..., source/shifted/..., held_out/..., target/val/..."""


@dataclass
class Position:
    """Where training stands."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps done in the epoch under way; all of them while only its evaluation is missing."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of the scalars of those steps."""
    seconds: float = 0.0
    """Time in those steps."""
    skipped: int = 0
    """Images of those steps that could not be read."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Metrics of the epochs finished."""


class Training:
    """A run's model, method, optimiser and position, in memory."""

    def __init__(self, config: Config, pair: Pair) -> None:
        torch.set_num_threads(config.train.threads)
        if config.train.device == "cuda" and not torch.cuda.is_available():
            raise UserError("train.device: expected a CUDA device, found none; use --train.device cpu")
        self.config = config
        self.pair = pair
        self.learner: Learner = make_learner(config, classes=len(pair.classes), sources=pair.source_count)
        self.averaging = make_averaging(config, self.learner, pair)
        self.unlabelled = UnlabelledScores(config, pair)
        self.position = Position()
        self.steps_per_epoch = count_steps_per_epoch(config, pair)

    def get_state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        learner, position = self.learner, self.position
        return {
            "model": learner.model.state_dict(),
            "method": learner.method.state_dict(),
            "optimiser": learner.optimiser.state_dict(),
            "steps": learner.steps,
            "averaging": self.averaging.get_state(),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state() if self.config.train.device == "cuda" else None,
            "position": vars(position),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Load a state of the same configuration."""
        learner = self.learner
        learner.model.load_state_dict(state["model"])
        learner.method.load_state_dict(state["method"])
        learner.optimiser.load_state_dict(state["optimiser"])
        learner.steps = state["steps"]
        self.averaging.restore(state["averaging"])
        torch.set_rng_state(state["torch_random"])
        if state["cuda_random"] is not None:
            torch.cuda.set_rng_state(state["cuda_random"])
        self.position = Position(**state["position"])

    def make_measured_model(self) -> Model:
        """Return the model whose weights are measured and kept now: the one that trains, or an averaged copy."""
        weights = self.averaging.average()
        if weights is None:
            return self.learner.model
        model = copy.deepcopy(self.learner.model)
        model.load_state_dict(weights)
        return model

    def load_batches(self) -> Iterator[Batch]:
        """Yield what is left of the epoch under way; in a process group, this process's part of each batch."""
        config, position = self.config, self.position
        source = balance_stream(self.pair.streams[SOURCE_TRAIN], config.data)
        sources, source_count = source.sources, self.pair.source_count
        size, seed = config.train.batch_size, config.train.seed
        order = draw_order(source, config.data, seed=seed, epoch=position.epoch)
        epoch, two_views = position.epoch, self.learner.method.two_views
        least = find_task(config.data).fewest_images

        def draw(step: int) -> Views:
            indices = order[step * size : (step + 1) * size][get_own_slice(size)]
            return draw_views(source, indices, config=config.data, seed=seed, epoch=epoch, two_views=two_views)

        steps = range(position.step, self.steps_per_epoch)
        for step, drawn in zip(steps, map_in_order(draw, steps, workers=config.data.workers), strict=True):
            bad, lost = admit(drawn.bad, config.data), 0
            if config.data.on_bad_image == "skip":
                lost = int(sum_over_processes(torch.tensor(bad)))
                position.skipped += lost
            if len(drawn.indices) == 0:
                whose = f" of each of {get_world_size()} workers" if get_world_size() > 1 else ""
                raise BadDataError(
                    f"data.on_bad_image: expected an image in every batch{whose}, found none that can be read "
                    f"in step {step} of epoch {epoch + 1}; the first: {drawn.bad[0]}"
                )
            if lost > size - least:
                raise BadDataError(
                    f"data.on_bad_image: expected {pluralize(least, 'image')} in every batch, found {size - lost} that "
                    f"can be read in step {step} of epoch {epoch + 1}; use a larger train.batch_size"
                )
            query = to_input(self.learner.model, config, drawn.query)
            key = query if drawn.key is None else to_input(self.learner.model, config, drawn.key)
            labels = drawn.labels.to(config.train.device)
            origin = sources[drawn.indices % len(source)].to(config.train.device)
            yield Batch(query, key, labels, drawn.indices, epoch, origin, source_count)


def count_steps_per_epoch(config: Config, pair: Pair) -> int:
    """Return how many whole batches the source's training images make.

    Raises:
        UserError: not even one.
    """
    images = len(pair.streams[SOURCE_TRAIN])
    if images < config.train.batch_size:
        raise UserError(
            f"train.batch_size: expected at most the {pluralize(images, 'image')} of {SOURCE_TRAIN}, found "
            f"{config.train.batch_size}"
        )
    return images // config.train.batch_size


def fit(
    training: Training, *, checkpoint: Place | None = None, on_step: OnStep | None = None, stop: Stop | None = None
) -> Iterator[EpochReport]:
    """Train one configuration, yielding a report after every epoch, from the first.

    The configuration, with ``train.seed``, decides everything but the times. In a process group every process iterates.

    Args:
        training: continues from the checkpoint, or else from its own position.
        checkpoint: file that the first process writes the whole state to, after a step or an evaluation, whenever
            ``train.checkpoint_minutes`` have passed. The finished epochs of a state found there are reported again.
        on_step: called after every step.
        stop: ends the iteration early.

    Raises:
        NonFiniteLossError: see :meth:`csg.training.step.Learner.step`.
        UserError: something that only shows with weights and data at hand (a weights file that does not fit, chunks
            that do not divide a map).
        RuntimeError: the processes of the group do not stand at the same step.
    """
    config, learner = training.config, training.learner
    saved = Checkpoint(checkpoint, minutes=config.train.checkpoint_minutes)
    state = saved.load()
    if state is not None:
        training.restore(state)
    position = training.position
    check_agreement({"epochs": position.epoch, "steps of the epoch": position.step, "steps in all": learner.steps})
    learner.optimiser.zero_grad()  # makes the optimiser before the first step is timed
    for epoch, metrics in enumerate(training.position.history, start=1):
        yield EpochReport(epoch, metrics)
    total = training.steps_per_epoch * config.train.epochs
    while training.position.epoch < config.train.epochs:
        position = training.position
        began = time.perf_counter()
        earlier = position.seconds
        for batch in training.load_batches():
            factor = find_lr_factor(config, learner.steps, steps_per_epoch=training.steps_per_epoch)
            _, scalars = learner.step(batch, factor)
            position.step += 1
            training.averaging.after_step(batch, factor, step=position.step, steps_per_epoch=training.steps_per_epoch)
            position.seconds = earlier + time.perf_counter() - began
            for name, value in scalars.items():
                position.sums[name] = position.sums.get(name, 0.0) + value
            saved.save_if_due(training.get_state)
            if on_step is not None:
                on_step(learner.steps, total)
            if stop is not None and ask_first(stop):
                return
        if config.train.device == "cuda":
            torch.cuda.synchronize()
            position.seconds = earlier + time.perf_counter() - began
        # No state is saved between here and the next position: a resumed run calls this once an epoch too.
        learner.method.after_epoch(learner.model)
        metrics = measure_epoch(training)
        training.position = Position(epoch=position.epoch + 1, history=[*position.history, metrics])
        saved.save_if_due(training.get_state)  # an evaluation may take longer than many steps
        yield EpochReport(training.position.epoch, metrics)


def measure_epoch(training: Training) -> dict[str, float]:
    """Average the epoch's scalars and measure the validation streams."""
    config, learner, position = training.config, training.learner, training.position
    images = position.step * config.train.batch_size - position.skipped
    metrics = {f"train/{name}": value / position.step for name, value in position.sums.items()}
    factor = find_lr_factor(config, learner.steps - 1, steps_per_epoch=training.steps_per_epoch)
    metrics["train/lr"] = config.optim.lr * factor
    metrics["train/seconds"] = position.seconds
    metrics["train/images_per_second"] = images / position.seconds
    if position.skipped:
        metrics[f"{SOURCE_TRAIN}/skipped_images"] = float(position.skipped)
    began = time.perf_counter()
    metrics |= measure_validation(training.make_measured_model(), config, training.pair, training.unlabelled)
    metrics["evaluation/seconds"] = time.perf_counter() - began
    return {name: value for name, value in metrics.items() if not math.isnan(value)}
