"""Synaptic intelligence: each backbone weight is pulled to where it started, by its importance (Zenke et al., 2017).

    L = CE + c * sum_k Omega_k (theta_k - theta*_k)^2   (equation 4),   Omega_k = omega_k / (Delta_k^2 + xi)   (5)

omega_k sums -g_k * movement_k over the steps (equation 3): how much of the loss's decrease weight k is credited with.
Delta_k is how far it moved. The paper accumulates omega while the *old*
task is learnt. A departure: ImageNet's training path is not available, so omega accumulates along the synthetic
training itself, over the task loss alone, is clamped at zero, and Omega is refreshed at the end of each epoch; the
anchor is the ImageNet weights. So the penalty is zero in the first epoch, and then holds the weights that the synthetic
task has come to rely on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from csg.config import MethodConfig
from csg.config.settings import STRICT
from csg.losses.squared_distance import weight_distance
from csg.methods.anchor import Anchor
from csg.methods.method import Batch, Method, Term
from csg.models.encoder import Encoder
from csg.models.model import Model, Output


@dataclass(frozen=True, config=STRICT)
class SynapticIntelligenceConfig(MethodConfig):
    """Settings of the penalty."""

    name: str = "synaptic_intelligence"
    weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Weight of the penalty, c in the paper."""
    damping: Annotated[float, Field(gt=0, le=10)] = 1e-3
    """xi: keeps the importance of a weight that hardly moved finite."""

    @property
    def summary(self) -> str:
        """Name, weight and damping."""
        return f"synaptic_intelligence*{self.weight:.3g} xi={self.damping:.3g}"


class SynapticIntelligence(Method):
    """Adds sum_k Omega_k (theta_k - theta*_k)^2 over the backbone's weights (equation 4)."""

    Config = SynapticIntelligenceConfig

    def __init__(self, config: SynapticIntelligenceConfig, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        self._anchor = Anchor(teacher, model.encoder)
        for name, (weight, _) in self._anchor.pair_with(model.encoder).items():
            self.register_buffer(_name_buffer("credit", name), torch.zeros_like(weight))
            self.register_buffer(_name_buffer("importance", name), torch.zeros_like(weight))
        self._before: dict[str, tuple[Tensor, Tensor]] = {}

    def _get_credit(self, name: str) -> Tensor:
        return self.get_buffer(_name_buffer("credit", name))

    def _get_importance(self, name: str) -> Tensor:
        return self.get_buffer(_name_buffer("importance", name))

    def compute_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        """One term: the penalty under the importances of the last epoch's end."""
        pairs = self._anchor.pair_with(model.encoder)
        triples = ((weight, anchor, self._get_importance(name)) for name, (weight, anchor) in pairs.items())
        return [Term("synaptic_intelligence", weight_distance(triples), self.config.weight)]

    @torch.no_grad()
    def after_backward(self, model: Model) -> None:
        """Note the weights and the task loss's gradient: the whole gradient without the penalty's, 2 c Omega Delta."""
        for name, (weight, anchor) in self._anchor.pair_with(model.encoder).items():
            if weight.grad is not None:
                penalty = 2 * self.config.weight * self._get_importance(name) * (weight - anchor)
                self._before[name] = (weight.grad - penalty, weight.detach().clone())

    @torch.no_grad()
    def after_step(self, model: Model, scalars: Mapping[str, float]) -> None:
        """Credit each weight with -g * movement."""
        for name, (weight, _) in self._anchor.pair_with(model.encoder).items():
            if name in self._before:
                gradient, before = self._before.pop(name)
                self._get_credit(name).sub_(gradient * (weight - before))

    @torch.no_grad()
    def after_epoch(self, model: Model) -> None:
        """Omega = max(omega, 0) / (Delta^2 + xi), Delta being the movement since the start."""
        for name, (weight, anchor) in self._anchor.pair_with(model.encoder).items():
            moved = (weight - anchor).square() + self.config.damping
            self._get_importance(name).copy_(self._get_credit(name).clamp(min=0) / moved)


def _name_buffer(kind: str, name: str) -> str:
    """Return a buffer's name, which may hold no dot."""
    return f"{kind}/{name.replace('.', '/')}"
