"""Pyramid consistency across styles (DRPC; Yue et al., ICCV 2019, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = (1, 2, 4, 8)
"""Cells per side of the spatial pyramid's levels."""


def pyramid_consistency(maps: Tensor) -> Tensor:
    """Mean L1 distance between what a pyramid sees of each copy and of all copies on average.

    With g_kl the maps of copy k, averaged in each of l x l cells:

        mean over l, copies k, images, channels and cells of | g_kl - (1/K) sum_j g_jl |

    Args:
        maps: (K, N, C, H, W) of K copies of the same N images. Levels finer than the maps are left out.

    Returns:
        A scalar; 0 for equal copies.
    """
    copies, images, channels, height, width = maps.shape
    distances = []
    for level in LEVELS:
        if level <= min(height, width):
            pooled = F.adaptive_avg_pool2d(maps.flatten(0, 1), level).reshape(copies, images, channels, level, level)
            distances.append((pooled - pooled.mean(dim=0)).abs().mean())
    return torch.stack(distances).mean()
