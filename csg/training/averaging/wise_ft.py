"""WiSE-FT: weights between the starting ones and the fine-tuned ones (Wortsman et al., CVPR 2022, arXiv:2109.01903).

With theta_0 the starting weights, theta those of the last step and alpha the mixing factor (section 3, equation 1):

    (1 - alpha) theta_0 + alpha theta

theta_0 needs a head. The paper's comes from class names in words, and where there are none, from linear probing. Here a
second head of the same draw trains beside the run, on the frozen starting encoder's features of the same images as
they were augmented (not as a method such as DRPC restyles them), with the same optimiser and schedule; it changes
nothing of the run. So alpha = 1 is the run itself, and alpha = 0 the probe.

Departures: fine-tuning starts from the new head as drawn, not from the probe's, unless the method is ``lp_ft``, whose
first epochs are the probe's. The head is the one of all rows, which for images has a hidden layer. Statistics of batch
norms are mixed like weights.
"""

from __future__ import annotations

import copy
import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from csg.collective import sum_over_processes
from csg.config import Config
from csg.data.pair import Pair
from csg.methods.method import Batch
from csg.models.folding import FoldedEncoder
from csg.training.averaging.averaging import Averaging
from csg.training.optimiser import make_head_optimiser, set_lr
from csg.training.step import Learner, NonFiniteLossError, choose_precision, task_loss


class WiseFt(Averaging):
    """Trains a probe beside the run, and mixes its weights with the run's."""

    def __init__(self, config: Config, learner: Learner, pair: Pair) -> None:
        super().__init__(config, learner, pair)
        model = learner.model
        self._start = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self._encoder = FoldedEncoder(model.encoder)
        self._head = copy.deepcopy(model.head)

    @cached_property
    def _optimiser(self) -> torch.optim.Optimizer:
        """Made when it is needed; see :class:`~csg.training.step.Learner`."""
        return make_head_optimiser(self._config.optim, self._head)

    def after_step(self, batch: Batch, lr_factor: float, *, step: int, steps_per_epoch: int) -> None:
        """Take a step of the probe.

        Raises:
            NonFiniteLossError: its loss became NaN or infinite.
        """
        height, width = batch.query.shape[-2:]
        with choose_precision(self._config):
            output = self._learner.model.answer(self._encoder(batch.query), (height, width), self._head)
            value, rows = task_loss(output.logits, batch.labels)
        part = rows / max(float(sum_over_processes(torch.tensor(float(rows)))), 1.0)
        loss = value * part
        total = float(sum_over_processes(loss.detach().to(torch.float64)))
        if not math.isfinite(total):
            raise NonFiniteLossError(
                f"the loss of wise_ft's probe is {total} at step {self._learner.steps - 1}; a lower optim.lr (now "
                f"{self._config.optim.lr}) may help"
            )
        set_lr(self._optimiser, self._config.optim.lr * lr_factor, {})
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self._head.parameters():
            if parameter.grad is not None:
                parameter.grad = sum_over_processes(parameter.grad)
        self._optimiser.step()

    @torch.no_grad()
    def average(self) -> dict[str, Tensor]:
        """See :class:`Averaging`."""
        start = self._start | {f"head.{name}": tensor for name, tensor in self._head.state_dict().items()}
        return {
            name: start[name].lerp(tensor, self._config.averaging.mixing) if tensor.is_floating_point() else tensor
            for name, tensor in self._learner.model.state_dict().items()
        }

    def get_state(self) -> dict[str, Any]:
        """See :class:`Averaging`; the starting weights are a function of the configuration."""
        return {"head": self._head.state_dict(), "optimiser": self._optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """See :class:`Averaging`."""
        self._head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])
