"""A trained model as it is handed on: pixels in, probabilities out, nothing of its training."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from csg.models.folding import FoldedEncoder
from csg.models.model import Model


class Deployable(nn.Module):
    """A frozen float32 copy of a model: normalisation inside, batch norms folded, the old head gone."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        encoder = FoldedEncoder(model.encoder).encoder
        old_head = encoder.get_old_head()
        if old_head is not None:
            name = next(name for name, module in encoder.named_modules() if module is old_head)
            encoder.set_submodule(name, nn.Identity())
        self.model = copy.deepcopy(model)
        self.model.encoder = encoder
        self.to(device="cpu", dtype=torch.float32, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB values of 0 to 255 -> (N, classes) probabilities, or (N, classes, H, W) for every pixel."""
        probabilities: Tensor = self.model(self.model.encoder.normalise(images)).logits.softmax(dim=1)
        return probabilities
