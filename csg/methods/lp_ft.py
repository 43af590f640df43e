"""LP-FT: linear probing, then fine-tuning (Kumar et al., ICLR 2022, arXiv:2202.10054).

Fine-tuning under a head as it was drawn distorts what the encoder knew before (their section 3). So for
``probe_epochs`` epochs the head trains alone on the features of the frozen encoder, statistics of its batch norms
included; then everything trains on cross-entropy. Each phase has a schedule of its own over its length, the first one
without a warm-up.

Departures: both phases share one budget of steps and one highest learning rate, so that the head need not converge in
the first; the paper fits its head to convergence and chooses a rate for each phase.
The head is the one of all rows, which for images has a hidden layer. Steps of the first phase cost what others do: the
encoder's gradient is computed and dropped.
"""

from __future__ import annotations

from typing import Any

from pydantic.dataclasses import dataclass

from csg.config import MethodConfig
from csg.config.settings import STRICT, Count
from csg.methods.method import Batch, Method
from csg.models.encoder import Encoder
from csg.models.model import Model


@dataclass(frozen=True, config=STRICT)
class LpFtConfig(MethodConfig):
    """Settings of the two phases."""

    name: str = "lp_ft"
    probe_epochs: Count = 1
    """Epochs in which only the head trains; from train.epochs on it is all of them."""

    @property
    def summary(self) -> str:
        """Name and length of the first phase."""
        return f"lp_ft {self.probe_epochs} epochs of probing"

    @property
    def probing(self) -> int:
        """The first phase."""
        return self.probe_epochs


class LpFt(Method):
    """Freezes the encoder in the first epochs."""

    Config = LpFtConfig

    def __init__(self, config: Any, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        self._frozen_statistics = model.frozen_statistics
        self._models = (model,)  # a tuple, in which it is no part of the method's state
        self._probing = False

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch as it is, having begun the phase of its epoch."""
        (model,) = self._models
        self._probing = batch.epoch < self.config.probe_epochs
        frozen_statistics = self._probing or self._frozen_statistics
        if model.frozen_statistics != frozen_statistics:
            model.frozen_statistics = frozen_statistics
            model.train(model.training)
        return batch

    def after_backward(self, model: Model) -> None:
        """Drop the encoder's gradients in the first phase: an optimiser leaves weights without a gradient alone."""
        if self._probing:
            for parameter in model.encoder.parameters():
                parameter.grad = None
