"""Automated Synthetic-to-Real Generalization (ASG; Chen et al., ICML 2020): proxy guidance and learning to optimise.

*Proxy guidance* treats training on synthetic images as lifelong learning, with ImageNet classification as the old task.
The trained backbone, under the old ImageNet head, is held to the frozen ImageNet classifier on the synthetic images x:

    L = CE + weight KL(p*(x) || p(x)),   p = softmax(old head of the trained features),   p* = the same, all frozen

(:func:`csg.losses.distillation.distillation`, without a temperature). The old head never trains.

*Learning to optimise* ("RL-L2O"): a policy sets the learning rate of each layer group, and is itself trained by policy
gradient, here while the network trains. :mod:`csg.methods.rate_controller` has its state, actions, reward and update as
equations, and names its departures, which are considerable; the guidance has none that is known.

Each half can be used alone: ``method.distillation_weight=0`` leaves the controller, ``method.controller=False`` the
guidance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from csg.config import MethodConfig
from csg.config.settings import STRICT, Count, Flat, flatten
from csg.losses.attentional_pooling import average_pool
from csg.losses.distillation import distillation
from csg.messages.errors import UserError
from csg.methods.method import Batch, Method, Term
from csg.methods.rate_controller import RateController
from csg.models.encoder import Encoder
from csg.models.model import Model, Output
from csg.models.teacher import Teacher

CONTROLLER_SETTINGS = ("controller_interval", "controller_lr")


@dataclass(frozen=True, config=STRICT)
class AsgConfig(MethodConfig):
    """Settings of ASG's two halves."""

    name: str = "asg"
    distillation_weight: Annotated[float, Field(ge=0, le=1000)] = 0.1
    """Weight of the distillation loss; 0 switches the proxy guidance off."""
    controller: bool = True
    """Whether the controller sets the layer groups' learning rates."""
    controller_interval: Count = 5
    """Steps between two decisions of the controller."""
    controller_lr: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Step size of the controller's policy gradient."""

    def __post_init__(self) -> None:
        if self.distillation_weight == 0 and not self.controller:
            raise UserError(
                "method.distillation_weight: expected above 0, or method.controller=True; with neither half this is "
                "source_only"
            )

    @property
    def summary(self) -> str:
        """The halves that are on."""
        halves = [f"guidance*{self.distillation_weight:.3g}"] if self.distillation_weight else []
        return " ".join(["asg", *halves, *(["controller"] if self.controller else [])])

    def get_active(self) -> Flat:
        """Without the controller its settings do nothing."""
        unused = () if self.controller else CONTROLLER_SETTINGS
        return {name: value for name, value in flatten(self).items() if name not in unused}


class Asg(Method):
    """Adds the distillation term, and sets the layer groups' learning rates."""

    Config = AsgConfig

    def __init__(self, config: AsgConfig, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        if config.distillation_weight:
            if teacher.get_old_head() is None:
                raise UserError(
                    "model.teacher_name: the guidance compares under the teacher's ImageNet classifier, and a "
                    f"{type(teacher).__name__} has none; use a teacher that has one, or method.distillation_weight=0"
                )
            trained, frozen = model.encoder.channels[-1], teacher.channels[-1]
            if trained != frozen:
                raise UserError(
                    "model.teacher_name: under the teacher's old head, features need its width; the encoder has "
                    f"{trained} channels, the teacher {frozen}"
                )
            self.frozen["teacher"] = Teacher(teacher, model.encoder)
        if config.controller:
            groups = (*model.encoder.list_groups(), "head")
            self.controller = RateController(
                groups, interval=config.controller_interval, lr=config.controller_lr, seed=seed
            )

    @classmethod
    def uses_old_head(cls, config: AsgConfig) -> bool:
        """Say whether there is guidance."""
        return config.distillation_weight > 0

    def get_lr_factors(self) -> Mapping[str, float]:
        """Return the controller's choice."""
        return self.controller.get_factors() if self.config.controller else {}

    def compute_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        """One term: the distillation, where it is on."""
        if "teacher" not in self.frozen:
            return []
        teacher = self.frozen["teacher"]
        old_head = teacher.encoder.get_old_head()
        assert old_head is not None
        with torch.no_grad():
            theirs = average_pool(teacher(batch.query)[-1])
        # In the weights' precision: of two distributions that hardly differ bfloat16 would leave two or three digits.
        with torch.autocast(batch.query.device.type, enabled=False):
            student, taught = (old_head(each.to(old_head.weight.dtype)) for each in (output.features, theirs))
            value = distillation(student, taught)
        return [Term("distillation", value, self.config.distillation_weight, rows=len(taught))]

    def after_step(self, model: Model, scalars: Mapping[str, float]) -> None:
        """Show the controller the step's losses."""
        if self.config.controller:
            guidance = self.config.distillation_weight * scalars.get("loss_distillation", 0.0)
            self.controller.observe(scalars["loss_task"], guidance)
