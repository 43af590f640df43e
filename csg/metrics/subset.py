"""A seeded choice of images, for scores whose cost grows with the square of their number."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from csg.randomness import make_generator


def choose_images(count: int, *, limit: int, seed: int) -> Tensor:
    """Choose at most ``limit`` of ``count`` images, without replacement.

    Args:
        count: number of images, in the caller's fixed order.
        limit: how many are chosen at most.
        seed: seed of the draw.

    Returns:
        (min(count, limit),) indices in ascending order; all of them where there are no more than the limit.
    """
    if count <= limit:
        return torch.arange(count)
    return torch.from_numpy(np.sort(make_generator(seed, "validator images").choice(count, limit, replace=False)))
