"""The classifier: one answer an image."""

from __future__ import annotations

from torch import Tensor, nn

from csg.losses.attentional_pooling import average_pool
from csg.models.encoder import Encoder
from csg.models.model import Model, Output


class Classifier(Model):
    """Encoder, global average pooling, and a head of Linear, ReLU, Linear (CSG, appendix: 2048 -> 512 -> classes)."""

    def __init__(
        self, encoder: Encoder, *, classes: int, head_width: int, frozen_statistics: bool, frozen_norms: bool = False
    ) -> None:
        head = nn.Sequential(
            nn.Linear(encoder.channels[-1], head_width), nn.ReLU(inplace=True), nn.Linear(head_width, classes)
        )
        super().__init__(encoder, head, frozen_statistics=frozen_statistics, frozen_norms=frozen_norms)

    def answer(self, maps: tuple[Tensor, ...], size: tuple[int, int], head: nn.Module) -> Output:
        """See :class:`~csg.models.model.Model`; logits are (N, classes)."""
        features = average_pool(maps[-1])
        return Output(logits=head(features), maps=maps, features=features)
