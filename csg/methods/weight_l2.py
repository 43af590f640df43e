"""Weight l2 distance: the backbone's weights are pulled to where they started (CSG, table 1; Kirkpatrick et al., 2017).

    L = CE + weight * sum_k (theta_k - theta*_k)^2

over the weights theta of the backbone, theta* being ImageNet's. Kirkpatrick et al. compare their elastic weight
consolidation (equation 3, in which each weight has an importance) with this penalty, in which all count alike. Departs
from them in the factor: the squared distance is taken without their one half.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from csg.config import MethodConfig
from csg.config.settings import STRICT
from csg.losses.squared_distance import weight_distance
from csg.methods.anchor import Anchor
from csg.methods.method import Batch, Method, Term
from csg.models.encoder import Encoder
from csg.models.model import Model, Output


@dataclass(frozen=True, config=STRICT)
class WeightL2Config(MethodConfig):
    """Settings of the penalty."""

    name: str = "weight_l2"
    weight: Annotated[float, Field(ge=0, le=1000)] = 0.1
    """Weight of the squared distance."""

    @property
    def summary(self) -> str:
        """Name and weight."""
        return f"weight_l2*{self.weight:.3g}"


class WeightL2(Method):
    """Adds the squared distance of the backbone's weights from the teacher's; heads are free."""

    Config = WeightL2Config

    def __init__(self, config: WeightL2Config, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        self._anchor = Anchor(teacher, model.encoder)

    def compute_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        """One term: the distance."""
        pairs = self._anchor.pair_with(model.encoder)
        distance = weight_distance((weight, anchor, None) for weight, anchor in pairs.values())
        return [Term("weight_l2", distance, self.config.weight)]
