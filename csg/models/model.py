"""What is trained: an encoder with a new head on its last stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from csg.models.encoder import Encoder


@dataclass(frozen=True)
class Output:
    """What a forward pass gives."""

    logits: Tensor
    """(N, classes), or (N, classes, H, W) for every pixel of the input."""
    maps: tuple[Tensor, ...]
    """The four stages' maps, (N, C, h, w)."""
    features: Tensor
    """(N, C): the last stage's maps, spatially averaged."""


class Model(nn.Module, ABC):
    """An encoder and a head; each task has its own."""

    def __init__(self, encoder: Encoder, head: nn.Module, *, frozen_statistics: bool, frozen_norms: bool) -> None:
        """Put ``head`` on ``encoder``, whose old head is frozen.

        Args:
            encoder: with its starting weights.
            head: new.
            frozen_statistics: the encoder's batch norms stay in evaluation mode.
            frozen_norms: their scale and shift do not train either.
        """
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.frozen_statistics = frozen_statistics
        old_head = encoder.get_old_head()
        if old_head is not None:
            old_head.requires_grad_(requires_grad=False)
        if frozen_norms:
            for norm in _list_batch_norms(encoder):
                norm.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> Model:
        """Set training mode; with frozen statistics, the encoder's batch norms stay in evaluation mode."""
        super().train(mode)
        if self.frozen_statistics:
            for norm in _list_batch_norms(self.encoder):
                norm.eval()
        return self

    @abstractmethod
    def answer(self, maps: tuple[Tensor, ...], size: tuple[int, int], head: nn.Module) -> Output:
        """Turn the encoder's maps of (N, 3, H, W) images into an output; ``size`` is (H, W), ``head`` one like mine."""

    def forward(self, images: Tensor) -> Output:
        """(N, 3, H, W), normalised -> logits, maps and features."""
        height, width = images.shape[-2:]
        return self.answer(self.encoder(images), (height, width), self.head)


def _list_batch_norms(encoder: Encoder) -> list[nn.BatchNorm2d]:
    return [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
