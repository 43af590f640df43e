"""Hyperspherical energy, the paper's measure of feature diversity (CSG, equation 1). Lower is more diverse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FLOOR = 1e-6
"""Distances below this count as this."""


@dataclass(frozen=True)
class Energy:
    """E_s = mean over i < j of e_s(|v_i - v_j|) for l2-normalised v, e_s(d) = d^-s for s > 0."""

    e0_mhe: float
    """E_0 with e_0(d) = log(1 / d^2): the convention of the paper's printed figures."""
    e0_literal: float
    """E_0 with e_0(d) = log(1 / d): the paper's formula as written; half of ``e0_mhe``."""
    e1: float
    e2: float
    vectors: int
    """Vectors that entered (zero vectors left out)."""
    zero_vectors: int
    """Vectors of length zero: they have no direction and are left out."""
    floored_pairs: int
    """Pairs nearer than ``FLOOR``, counted as ``FLOOR`` apart."""


def hyperspherical_energy(features: Tensor, *, samples: int = 0, seed: int = 0, block: int = 2048) -> Energy:
    """Compute E_0, E_1 and E_2 in float64 over all pairs, ``block`` x ``block`` distances at a time.

    Takes the memory of one copy of the features in float64 and of a few blocks: none of N x N.

    Args:
        features: (N, D), not yet normalised.
        samples: if above zero and below N, take this many features, drawn without replacement.
        seed: seed of that draw.
        block: rows and columns of distances, and features, that are worked on at once.

    Returns:
        The energies; all NaN when fewer than two vectors have a direction.

    Raises:
        ValueError: features that are not a matrix of finite numbers.
    """
    if features.ndim != 2 or not torch.isfinite(features).all():
        raise ValueError(
            f"features: expected a finite (N, D) matrix, found shape {tuple(features.shape)} or non-finite"
        )
    if 0 < samples < len(features):
        chosen = np.random.default_rng(seed).choice(len(features), samples, replace=False)
        features = features[torch.from_numpy(np.sort(chosen))]
    vectors = _directions(features, block)
    count = len(vectors)
    pairs = count * (count - 1) // 2
    log_sum = inverse_sum = inverse_square_sum = 0.0
    floored = 0
    for top in range(0, count, block):
        rows = vectors[top : top + block]
        for left in range(top, count, block):
            square = (2 - 2 * rows @ vectors[left : left + block].T).clamp_min_(0)
            if left == top:
                square = square[torch.triu(torch.ones_like(square, dtype=torch.bool), diagonal=1)]
            floored += int((square < FLOOR**2).sum())
            square = square.clamp_min_(FLOOR**2)
            log_sum -= float(square.log().sum())
            inverse_sum += float(square.rsqrt().sum())
            inverse_square_sum += float(square.reciprocal().sum())
    mean = 1 / pairs if pairs else float("nan")
    return Energy(
        e0_mhe=log_sum * mean,
        e0_literal=log_sum * mean / 2,
        e1=inverse_sum * mean,
        e2=inverse_square_sum * mean,
        vectors=count,
        zero_vectors=len(features) - count,
        floored_pairs=floored,
    )


def _directions(features: Tensor, block: int) -> Tensor:
    """Return the (M, D) unit vectors of those features that have a direction, in float64, made block by block."""
    lengths = torch.cat([part.to(torch.float64).norm(dim=1) for part in torch.split(features, block)])
    vectors = features.new_empty((int((lengths > 0).sum()), features.shape[1]), dtype=torch.float64)
    filled = 0
    for part, length in zip(torch.split(features, block), torch.split(lengths, block), strict=True):
        directed = length > 0
        count = int(directed.sum())
        vectors[filled : filled + count] = part[directed].to(torch.float64) / length[directed].unsqueeze(1)
        filled += count
    return vectors
