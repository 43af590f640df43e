"""A controller that learns, by policy gradient, which learning rate each layer group should have ("RL-L2O", ASG).

Every ``interval`` steps t it looks at a state s and chooses, for each layer group i (stem, stage1 to stage4, head), an
action a_i: one of :data:`FACTORS` on the group's learning rate. With l_t the mean task loss and g_t the mean weighted
guidance loss of interval t, and x' = ln(1 + x):

    state     s = (1, l'_t, l'_t - l'_(t-1), g'_t, g'_t - g'_(t-1)), the same for all groups
    action    a_i ~ p_i = softmax(W_i s), with W_i a matrix of actions x state that starts at zero
    reward    R = (l_(t-1) + g_(t-1)) - (l_t + g_t): by how much the losses fell under the action
    update    W_i += lr (R - b) (onehot(a_i) - p_i) s^T, then b <- 0.9 b + 0.1 R  (REINFORCE; Williams, 1992)

What is ASG's (Chen et al., ICML 2020, learning to optimise) is the plan: layer-wise learning rates, chosen from the
losses of the task and of the guidance by a policy that is trained by policy gradient. The equations are this project's
own. Departures: the policy starts anew in every run and learns within it; it is linear, not a recurrent network; the
rates are factors of at most 1 on the configured layer-wise rates rather than rates of their own; the reward is the fall
of the losses that are there anyway, so nothing is evaluated for the controller's sake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from csg.randomness import make_generator

FACTORS: Final = (0.03, 0.1, 0.3, 1.0)
"""What a group's learning rate can be multiplied by. None goes beyond the configured rate: no draw may diverge."""
STATE: Final = 5
"""Entries of the state."""
BASELINE_MOMENTUM: Final = 0.9


def log_probabilities(policy: Tensor, state: Tensor) -> Tensor:
    """Return (groups, actions) log p(action | state) of a (groups, actions, STATE) policy."""
    return (policy @ state).log_softmax(dim=1)


def policy_gradient(policy: Tensor, state: Tensor, actions: Tensor) -> Tensor:
    """Gradient of the summed log-probabilities of the groups' actions with respect to the policy.

    Args:
        policy: (groups, actions, STATE).
        state: (STATE,).
        actions: (groups,) indices.

    Returns:
        (groups, actions, STATE): (onehot(action) - p) state^T.
    """
    probabilities = log_probabilities(policy, state).exp()
    chosen = nn.functional.one_hot(actions, policy.shape[1]).to(policy.dtype)
    return (chosen - probabilities).unsqueeze(2) * state


class RateController(nn.Module):
    """The policy, what it saw and what it chose; all of it in the state dict.

    Its draws are a function of the seed and of the number of the decision. It starts as the uniform policy, its first
    factors being 1.
    """

    policy: Tensor

    def __init__(self, groups: Sequence[str], *, interval: int, lr: float, seed: int) -> None:
        super().__init__()
        self.groups, self.interval, self.lr, self.seed = tuple(groups), interval, lr, seed
        self.register_buffer("policy", torch.zeros(len(self.groups), len(FACTORS), STATE, dtype=torch.float64))
        self.chosen = [FACTORS.index(1.0)] * len(self.groups)
        self.decisions = 0
        self.baseline = 0.0
        self.sums = [0.0, 0.0, 0.0]
        """Task loss, guidance and steps of the interval under way."""
        self.means: list[list[float]] = []
        """Mean task loss and guidance of the last two intervals, oldest first."""
        self.state: list[float] = []
        """What the last decision looked at; empty before the first."""

    def _apply(self, fn: Any, recurse: bool = True) -> RateController:
        """Stay in float64 on the CPU, whatever the model moves to."""
        return self

    def get_factors(self) -> dict[str, float]:
        """Return the factor of each group's learning rate."""
        return {group: FACTORS[choice] for group, choice in zip(self.groups, self.chosen, strict=True)}

    def observe(self, task: float, guidance: float) -> None:
        """Take the losses of one step; after ``interval`` of them, learn from the last action and choose the next."""
        self.sums = [self.sums[0] + task, self.sums[1] + guidance, self.sums[2] + 1]
        if self.sums[2] < self.interval:
            return
        self.means = [*self.means[-1:], [self.sums[0] / self.interval, self.sums[1] / self.interval]]
        self.sums = [0.0, 0.0, 0.0]
        if self.state:
            self._learn()
        self._decide()

    def _learn(self) -> None:
        before, after = self.means
        reward = sum(before) - sum(after)
        gradient = policy_gradient(self.policy, self._make_tensor(self.state), torch.tensor(self.chosen))
        self.policy += self.lr * (reward - self.baseline) * gradient
        self.baseline = BASELINE_MOMENTUM * self.baseline + (1 - BASELINE_MOMENTUM) * reward

    def _decide(self) -> None:
        now, before = ([math.log1p(loss) for loss in means] for means in (self.means[-1], self.means[0]))
        self.state = [1.0, now[0], now[0] - before[0], now[1], now[1] - before[1]]
        probabilities = log_probabilities(self.policy, self._make_tensor(self.state)).exp().cumsum(dim=1)
        drawn = torch.from_numpy(make_generator(self.seed, "rate controller", self.decisions).random(len(self.groups)))
        below = (probabilities < drawn.unsqueeze(1)).sum(dim=1)
        self.chosen = below.clamp(max=len(FACTORS) - 1).tolist()
        self.decisions += 1

    def _make_tensor(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    def get_extra_state(self) -> dict[str, Any]:
        """Return what belongs to the state beside the policy."""
        names = ("chosen", "decisions", "baseline", "sums", "means", "state")
        return {name: getattr(self, name) for name in names}

    def set_extra_state(self, state: Any) -> None:
        """Restore it."""
        vars(self).update(state)
