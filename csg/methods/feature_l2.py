"""Feature l2 distance: trained features stay near the ImageNet features (ROAD; Chen et al., CVPR 2018).

    L = CE + weight * mean over images x of |g(F(x)) - g(F*(x))|^2

F are the maps of one stage of the trained encoder, F* those of the frozen one, g pools them to a vector. It stands in
CSG's table 1 for ROAD's target guided distillation, which has the trained network imitate the pretrained one's maps on
*real* images, pixel by pixel. Departures from ROAD: no target image is used, so the images are the synthetic ones (as
in CSG), and maps are pooled first, by their spatial mean or by A-pool under the trained encoder's attention.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from csg.config import MethodConfig
from csg.config.settings import STRICT
from csg.losses.attentional_pooling import attention, attentional_pool, average_pool
from csg.losses.squared_distance import feature_distance
from csg.methods.method import Batch, Method, Term
from csg.models.encoder import Encoder
from csg.models.model import Model, Output
from csg.models.teacher import Teacher, check_widths


@dataclass(frozen=True, config=STRICT)
class FeatureL2Config(MethodConfig):
    """Settings of the distance."""

    name: str = "feature_l2"
    weight: Annotated[float, Field(ge=0, le=1000)] = 1e-4
    """Weight of the squared distance, which is a sum over channels."""
    stage: Annotated[int, Field(ge=1, le=4)] = 4
    """Stage whose maps are compared."""
    pooling: Literal["average", "apool"] = "average"
    """How maps become vectors: the spatial mean, or attentional pooling."""

    @property
    def summary(self) -> str:
        """Name, stage, pooling and weight."""
        return f"feature_l2 {self.stage}:{self.pooling}*{self.weight:.3g}"


class FeatureL2(Method):
    """Adds the squared distance between the pooled maps of the trained and of the frozen encoder, on the same view."""

    Config = FeatureL2Config

    def __init__(self, config: FeatureL2Config, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        check_widths("feature_l2", [config.stage], student=model.encoder, teacher=teacher)
        self.frozen["teacher"] = Teacher(teacher, model.encoder)

    def compute_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        """One term: the distance."""
        stage = self.config.stage
        maps = output.maps[stage - 1], self.frozen["teacher"](batch.query, stage)[stage - 1]
        # In the weights' precision: of the small difference of two features bfloat16 would leave two or three digits.
        with torch.autocast(batch.query.device.type, enabled=False):
            trained, frozen = (each.to(next(model.parameters()).dtype) for each in maps)
            if self.config.pooling == "apool":
                features = attentional_pool(trained, attention(trained))
                height, width = frozen.shape[-2:]
                with torch.no_grad():
                    anchors = attentional_pool(frozen, attention(trained, (height, width)))
            else:
                features, anchors = average_pool(trained), average_pool(frozen)
            distance = feature_distance(features, anchors)
        return [Term("feature_l2", distance, self.config.weight, rows=len(features))]
