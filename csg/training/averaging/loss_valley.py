"""The window of steps whose weights SWAD averages (Cha et al., NeurIPS 2021, arXiv:2102.08604, algorithm 1).

With E_i the validation loss of evaluation i, N_s the patience to open, N_e that to close, and r the tolerance, the
window opens at the first evaluation t_s that is not improved on by the N_s - 1 that follow, and closes at t_e, ahead of
the first N_e in a row that all exceed a limit l:

    E_(t_s) = min( E_(t_s), ..., E_(t_s + N_s - 1) ),   l = r/N_s sum_(i' < N_s) E_(t_s + i'),
    t_e = i - N_e  for the first  i  with  l < min( E_i, ..., E_(i - N_e + 1) )

or stays open to the end. Evaluation i stands for all steps since the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from csg.training.averaging.mean_weights import MeanWeights


class LossValley:
    """Takes the weights of every step and the loss of every evaluation; gives the mean of the steps in the window.

    It holds a mean for each of the newest evaluations that may still turn out to be outside: N_s, then N_e.
    """

    def __init__(self, *, open_patience: int, close_patience: int, tolerance: float) -> None:
        """Take N_s, N_e and r."""
        self._open_patience, self._close_patience, self._tolerance = open_patience, close_patience, tolerance
        self._since = MeanWeights()
        """Of the steps since the last evaluation."""
        self._recent: list[tuple[float, MeanWeights]] = []
        """Loss and steps of the newest evaluations, oldest first."""
        self._window = MeanWeights()
        """Of the steps that are in the window for good."""
        self._limit: float | None = None
        self.is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether the window has opened, be it closed since or not."""
        return self._limit is not None

    def add(self, weights: Mapping[str, Tensor]) -> None:
        """Take in the weights after a step; what comes after the window's end is not looked at."""
        if not self.is_closed:
            self._since.add(weights)

    def note(self, loss: float) -> None:
        """Take in the validation loss of the newest weights."""
        if self.is_closed:
            return
        self._recent.append((loss, self._since))
        self._since = MeanWeights()
        if self._limit is None:
            self._recent = self._recent[-self._open_patience :]
            losses = [earlier for earlier, _ in self._recent]
            if len(losses) == self._open_patience and losses[0] == min(losses):
                self._limit = self._tolerance * sum(losses) / len(losses)
                self._settle()
            return
        self._settle()
        losses = [earlier for earlier, _ in self._recent]
        if len(losses) == self._close_patience and min(losses) > self._limit:
            self._recent, self.is_closed = [], True

    def _settle(self) -> None:
        """Let all evaluations but the newest N_e, which may still be past the end, into the window."""
        while len(self._recent) > self._close_patience:
            _, mean = self._recent.pop(0)
            self._window.add(mean.values, mean.count)

    def average(self) -> dict[str, Tensor] | None:
        """Return the mean of all steps since the window opened, up to its end or to now; None while it is not open."""
        if not self.is_open:
            return None
        total = MeanWeights()
        for mean in (self._window, *(mean for _, mean in self._recent), self._since):
            if mean.count:
                total.add(mean.values, mean.count)
        return total.values

    def get_state(self) -> dict[str, Any]:
        """Return what belongs to a checkpoint."""
        return {
            "since": self._since.get_state(),
            "recent": [[loss, mean.get_state()] for loss, mean in self._recent],
            "window": self._window.get_state(),
            "limit": self._limit,
            "is_closed": self.is_closed,
        }

    def restore(self, state: Mapping[str, Any], like: Mapping[str, Tensor]) -> None:
        """Load a state, onto the devices of ``like``."""
        self._since = MeanWeights.of(state["since"], like)
        self._recent = [(loss, MeanWeights.of(mean, like)) for loss, mean in state["recent"]]
        self._window = MeanWeights.of(state["window"], like)
        self._limit, self.is_closed = state["limit"], state["is_closed"]
