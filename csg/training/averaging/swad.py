"""SWAD: the mean of all weights in a flat valley of the validation loss (Cha et al., NeurIPS 2021, arXiv:2102.08604).

After every step the weights enter a mean, within a window that the loss on source/val opens and closes
(:mod:`csg.training.averaging.loss_valley` has algorithm 1). Several times an epoch that loss is measured, on the
weights as they are: the cross-entropy of the images as evaluation sees them, of dense tasks of their middle squares.

Departures: until a window opens, and where none does, the weights are the last step's (algorithm 1 would average all,
the authors' code the newest interval). The learning rate follows the schedule of all rows, where the paper's is
constant. Statistics of batch norms that are not frozen are averaged like weights; the authors' code takes them anew
from training images. By default only segmentation's head has such.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from csg.collective import get_own_slice, sum_over_processes
from csg.config import Config
from csg.data.pair import SOURCE_VAL, Pair
from csg.data.reading.loading import admit, map_in_order
from csg.methods.method import Batch
from csg.models.model import Model
from csg.tasks.measurement import Inference
from csg.training.averaging.averaging import Averaging
from csg.training.averaging.loss_valley import LossValley
from csg.training.step import Learner, task_loss


class Swad(Averaging):
    """Averages the weights of the steps in the window."""

    def __init__(self, config: Config, learner: Learner, pair: Pair) -> None:
        super().__init__(config, learner, pair)
        settings = config.averaging
        self._valley = LossValley(
            open_patience=settings.open_patience,
            close_patience=settings.close_patience,
            tolerance=settings.tolerance,
        )

    def after_step(self, batch: Batch, lr_factor: float, *, step: int, steps_per_epoch: int) -> None:
        """Take in the weights, and where that is due the loss on source/val."""
        if self._valley.is_closed:
            return
        self._valley.add(self._learner.model.state_dict())
        if step in choose_evaluations(steps_per_epoch, self._config.averaging.evaluations_per_epoch):
            self._valley.note(measure_loss(self._learner.model, self._config, self._pair))

    def average(self) -> dict[str, Tensor] | None:
        """See :class:`Averaging`."""
        return self._valley.average()

    def get_state(self) -> dict[str, Any]:
        """See :class:`Averaging`."""
        return self._valley.get_state()

    def restore(self, state: dict[str, Any]) -> None:
        """See :class:`Averaging`."""
        self._valley.restore(state, like=self._learner.model.state_dict())


def choose_evaluations(steps_per_epoch: int, evaluations: int) -> set[int]:
    """Choose the steps of an epoch, from 1, that evaluations follow: evenly, the last one at its end."""
    return {math.ceil(number * steps_per_epoch / evaluations) for number in range(1, evaluations + 1)}


def measure_loss(model: Model, config: Config, pair: Pair) -> float:
    """Measure the mean cross-entropy on source/val, over all labels that are not IGNORED; 0 where there is none.

    In a process group each process takes its part of the images, and all return the mean over the whole.
    """
    images, inference = pair.streams[SOURCE_VAL], Inference(model, config)
    batches = torch.split(torch.arange(len(images)), config.train.evaluation_batch_size)
    mine = range(len(batches))[get_own_slice(len(batches))]
    total = torch.zeros(2, dtype=torch.float64)
    for reading in map_in_order(lambda n: images.read_centre(batches[n]), mine, workers=config.data.workers):
        admit(reading.bad, config.data)
        if len(reading.indices):
            logits = inference(inference.prepare_input(reading.views[0])).logits
            value, rows = task_loss(logits, reading.labels.to(logits.device))
            total += torch.tensor([float(value) * rows, rows], dtype=torch.float64)
    summed, labels = sum_over_processes(total)
    return float(summed) / max(float(labels), 1.0)
