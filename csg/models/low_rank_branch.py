"""Layers whose weights differ between source domains by a tensor of low rank (Li et al., ICCV 2017, arXiv:1710.03077).

Section 3.3 generates a layer's weights from a binary code z of an image's domain, its one-hot vector and a one, by a
tensor with a Tucker decomposition; what the last entry of z gives is shared by all domains. With W that shared part,
layer by layer, domain s has

    W_s = W + D_s,   D_s = U_out ( sum_j u_sj G_j ) U_in

with the core's slices G_j, the domains' factor u, and the factors U_out and U_in of the layer's two sides.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


class LowRankBranch(nn.Module):
    """What the domains add to one layer's outputs in training.

    D_s is never made: inputs go through the filters of U_in, a small matrix of their image's domain, and U_out. The
    core starts at zero, so that all domains start with the shared weights. The factors' columns start with a length of
    about 1, so that D_s begins to move as fast as W would by the images of s, within its subspace.
    """

    def __init__(self, layer: nn.Module, *, sources: int, rank: int) -> None:
        """Draw the factors.

        Args:
            layer: linear, or a convolution without groups.
            sources: how many domains there are.
            rank: of the layer's two sides, and of the domains where there are more of them.
        """
        super().__init__()
        weight = layer.weight
        assert isinstance(weight, Tensor)
        outputs, *inner = weight.shape
        slices = min(rank, sources)
        self.outwards = nn.Parameter(torch.randn(outputs, rank) / math.sqrt(outputs))
        self.inwards = nn.Parameter(torch.randn(rank, *inner) / math.sqrt(math.prod(inner)))
        self.domains = nn.Parameter(torch.randn(sources, slices) / math.sqrt(slices))
        self.core = nn.Parameter(torch.zeros(slices, rank, rank))
        self.sources: Tensor | None = None
        """(N,) domains of the images that come next; None where only the shared part counts."""

    def add(self, layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        """Add to the layer's outputs, (N, out) or (N, out, H, W), what each image's domain does: a forward hook.

        It does so once for each time that it was told the domains, and never in evaluation mode.
        """
        sources, self.sources = self.sources, None
        if sources is None or not layer.training:
            return outputs
        narrow = copy.copy(layer)  # of the same stride and padding
        narrow._parameters = {"weight": self.inwards, "bias": None}
        filtered: Tensor = narrow.forward(*inputs)
        cores = torch.einsum("nj,jab->nab", self.domains[sources], self.core)
        added = (self.outwards @ cores) @ filtered.unsqueeze(-1).flatten(2)
        return outputs + added.reshape(outputs.shape)

    def compute_difference(self, source: int) -> Tensor:
        """Return D_s, in the shape of the layer's weight."""
        core = torch.einsum("j,jab->ab", self.domains[source], self.core)
        difference: Tensor = torch.tensordot(self.outwards @ core, self.inwards, dims=1)
        return difference


def list_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that can have a branch, by name: linear ones, and convolutions without groups."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    }
