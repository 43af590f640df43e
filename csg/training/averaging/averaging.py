"""What averages the weights that a training passes through, whatever its method."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from csg.config import Config
from csg.data.pair import Pair
from csg.methods.method import Batch
from csg.training.step import Learner


class Averaging:
    """Base of all averagings: none. It looks on, and never changes what the learner does next."""

    def __init__(self, config: Config, learner: Learner, pair: Pair) -> None:
        """Take a learner that has taken no step: its weights are the starting ones."""
        self._config = config
        self._learner = learner
        self._pair = pair

    def after_step(self, batch: Batch, lr_factor: float, *, step: int, steps_per_epoch: int) -> None:
        """Look at the weights after a step. In a process group every process calls this.

        Args:
            batch: what the step trained on, as the loop drew it.
            lr_factor: the schedule's factor of that step.
            step: its number in its epoch, from 1.
            steps_per_epoch: of them all.
        """

    def average(self) -> dict[str, Tensor] | None:
        """Return the model's state dict to measure and to keep now; None for its own."""
        return None

    def get_state(self) -> dict[str, Any]:
        """Return everything that later averages depend on: tensors, numbers, and containers of them."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Load a state of the same configuration."""
