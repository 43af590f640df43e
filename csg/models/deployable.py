"""A trained classifier as it is handed on: pixels in, probabilities out, nothing of its training."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from csg.losses.attentional_pooling import average_pool
from csg.models.classifier import Classifier
from csg.models.folding import FoldedEncoder


class Deployable(nn.Module):
    """A frozen float32 copy of a classifier: normalisation inside, batch norms folded, the old head gone."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        encoder = FoldedEncoder(model.encoder).encoder
        old_head = encoder.old_head()
        name = next(name for name, module in encoder.named_modules() if module is old_head)
        encoder.set_submodule(name, nn.Identity())
        self.encoder = encoder
        self.head = copy.deepcopy(model.head)
        self.to(device="cpu", dtype=torch.float32, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB values of 0 to 255 -> (N, classes) probabilities."""
        maps: tuple[Tensor, ...] = self.encoder(self.encoder.normalise(images))
        probabilities: Tensor = self.head(average_pool(maps[-1])).softmax(dim=1)
        return probabilities
