"""MIRO: mutual information with the frozen encoder is kept (Cha et al., ECCV 2022, arXiv:2203.10789).

On top of cross-entropy, for every chosen stage l (section 3.2):

    L = CE + weight sum_l mean( log v_l + (f_l - f*_l)^2 / v_l )

f_l are the maps of the trained encoder, f*_l those of the frozen one on the same image, and v_l is a variance for each
channel that is learned with them: softplus(b_l) + 1e-5, 0.1 at the start
(:func:`csg.losses.gaussian_bound.gaussian_bound`). A channel that the task needs otherwise gets a large variance and is
let go. The mean of q is f_l itself, as the paper chooses. Variances learn at ``variance_lr_factor`` times the full
rate.

Departures: the mean over entries instead of sums. Of it a channel's variance is given the gradient of its own channel's
mean, which is C times as large: by the other it would hardly move under SGD, for which, unlike for the paper's Adam,
the size of a gradient counts. No weight decay draws variances to softplus(0). The authors' code halves the term, which
``method.weight`` can. What the paper calls the oracle is here ``model.teacher_name``, the encoder's own start unless
given.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from csg.config import MethodConfig
from csg.config.settings import STRICT
from csg.losses.gaussian_bound import gaussian_bound
from csg.methods.csg import StageSet
from csg.methods.method import Batch, Learned, Method, Term
from csg.models.encoder import Encoder
from csg.models.model import Model, Output
from csg.models.teacher import Teacher, check_widths

START: Final = 0.1
"""Variance of every channel at the start."""
LEAST: Final = 1e-5
"""Variance that no channel falls below."""


@dataclass(frozen=True, config=STRICT)
class MiroConfig(MethodConfig):
    """Settings of MIRO."""

    name: str = "miro"
    weight: Annotated[float, Field(ge=0, le=1000)] = 0.1
    """lambda: weight of each chosen stage's bound."""
    stages: StageSet = "1+2+3+4"
    """Stages whose maps are compared, joined by +."""
    variance_lr_factor: Annotated[float, Field(ge=0, le=1000)] = 10.0
    """What the variances learn at, on optim.lr; the authors' code has such a factor, too."""

    @property
    def summary(self) -> str:
        """Stages and weight."""
        return f"miro {self.stages}*{self.weight:.3g}"


class Miro(Method):
    """Adds the bound between trained and frozen maps at each chosen stage, and trains its variances."""

    Config = MiroConfig

    def __init__(self, config: MiroConfig, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        self.stages = [int(stage) for stage in config.stages.split("+")]
        start = math.log(math.expm1(START - LEAST))  # softplus of it is START - LEAST
        self.spreads = nn.ParameterDict()
        check_widths("miro", self.stages, student=model.encoder, teacher=teacher)
        for stage in self.stages:
            spread = torch.full((model.encoder.channels[stage - 1],), start, dtype=torch.float64)
            self.spreads[f"stage{stage}"] = nn.Parameter(spread)
        self.to(next(model.parameters()))
        self.frozen["teacher"] = Teacher(teacher, model.encoder)

    def list_learned(self) -> list[Learned]:
        """Return the variances, at a rate of their own."""
        return [Learned(list(self.parameters()), lr_factor=self.config.variance_lr_factor, decays=False)]

    def compute_variance(self, stage: int) -> Tensor:
        """Return the (C,) variances of a chosen stage, whose gradient is that of a sum over channels, not of a mean."""
        variance = F.softplus(self.spreads[f"stage{stage}"]) + LEAST
        at = variance.detach()
        return at + len(at) * (variance - at)

    def compute_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        """One term a chosen stage."""
        frozen = self.frozen["teacher"](batch.query, max(self.stages))
        terms = []
        # In the weights' precision: of the small difference of two maps bfloat16 would leave two or three digits.
        with torch.autocast(batch.query.device.type, enabled=False):
            for stage in self.stages:
                variance = self.compute_variance(stage)
                trained, anchor = (maps[stage - 1].to(variance.dtype) for maps in (output.maps, frozen))
                value = gaussian_bound(trained, anchor, variance)
                terms.append(Term(f"miro_stage{stage}", value, self.config.weight, rows=len(trained)))
        return terms
