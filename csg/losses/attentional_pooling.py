"""Attentional pooling of feature maps, A-pool (CSG), and the cut into patches that precedes it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def patches(maps: Tensor, chunks: int) -> Tensor:
    """Cut each map into a grid of patches that become batch entries.

    Args:
        maps: (N, C, H, W).
        chunks: patches per side; must divide H and W.

    Returns:
        (chunks^2 N, C, H / chunks, W / chunks): all maps' patch (0, 0), then all maps' patch (0, 1), and so on.

    Raises:
        ValueError: ``chunks`` does not divide the map.
    """
    if chunks == 1:
        return maps
    n, c, h, w = maps.shape
    if h % chunks or w % chunks:
        raise ValueError(f"chunks: expected a divisor of the map's height and width, found {chunks} for {h}x{w}")
    grid = maps.reshape(n, c, chunks, h // chunks, chunks, w // chunks)
    return grid.permute(2, 4, 0, 1, 3, 5).reshape(chunks * chunks * n, c, h // chunks, w // chunks)


def attention(maps: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
    """a(h, w) = sum_c F(c, h, w) g(c), divided by its sum over (h, w), where g is the spatial mean of F.

    The paper's maps are non-negative. Two departures for others: where F has negative entries, a negative a(h, w)
    counts as 0; and for maps of another size, such as a teacher's, a is resized bilinearly before it is divided.

    Args:
        maps: (N, C, H, W). A map whose a(h, w) are all 0 is attended to uniformly.
        grid: height and width of the maps to attend to, where they are not ``maps``' own.

    Returns:
        (N, H, W), or N of ``grid``'s size, each map summing to 1.
    """
    n, c, h, w = maps.shape
    flat = maps.reshape(n, c, h * w)
    scores = (flat.mean(dim=2).unsqueeze(1) @ flat).squeeze(1).clamp(min=0)
    if grid is not None and grid != (h, w):
        # Antialiased resizing has no arithmetic in half precision.
        precise = scores.to(torch.promote_types(scores.dtype, torch.float32)).reshape(n, 1, h, w)
        resized = F.interpolate(precise, size=grid, mode="bilinear", align_corners=False, antialias=True)
        h, w = grid
        scores = resized.to(scores.dtype).reshape(n, h * w)
    total = scores.sum(dim=1, keepdim=True)
    usable = total > 0
    weights = scores / total.where(usable, total.new_ones(()))
    return weights.where(usable, weights.new_full((), 1 / (h * w))).reshape(n, h, w)


def attentional_pool(maps: Tensor, weights: Tensor) -> Tensor:
    """Pool (N, C, H, W) maps with (N, H, W) attention to (N, C): sum_{h,w} a(h, w) F(:, h, w)."""
    n, c, h, w = maps.shape
    return (maps.reshape(n, c, h * w) @ weights.reshape(n, h * w, 1)).squeeze(2)


def average_pool(maps: Tensor) -> Tensor:
    """Pool (N, C, H, W) maps to (N, C) by their spatial mean."""
    return maps.mean(dim=(2, 3))
