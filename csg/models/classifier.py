"""An encoder with the new head on its last stage."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from csg.losses.attentional_pooling import average_pool
from csg.models.encoder import Encoder


@dataclass(frozen=True)
class Output:
    """What a forward pass gives."""

    logits: Tensor
    """(N, classes)."""
    maps: tuple[Tensor, ...]
    """The four stages' maps, (N, C, H, W)."""
    features: Tensor
    """(N, C): the last stage's maps, spatially averaged."""


class Classifier(nn.Module):
    """Encoder, global average pooling, and a head of Linear, ReLU, Linear (CSG, appendix: 2048 -> 512 -> classes)."""

    def __init__(self, encoder: Encoder, *, classes: int, head_width: int, frozen_statistics: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Linear(encoder.channels[-1], head_width), nn.ReLU(inplace=True), nn.Linear(head_width, classes)
        )
        self.frozen_statistics = frozen_statistics
        encoder.old_head().requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> Classifier:
        """Set training mode; with frozen statistics, batch norm stays in evaluation mode."""
        super().train(mode)
        if self.frozen_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> Output:
        """(N, 3, H, W), normalised -> logits, maps and features."""
        maps = self.encoder(images)
        features = average_pool(maps[-1])
        return Output(logits=self.head(features), maps=maps, features=features)
