"""Hyperspherical energy, the paper's measure of feature diversity (CSG, section 2). Lower is more diverse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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

    Memory is that of the features in float64 and a few blocks, whatever their number.

    Args:
        features: (N, D), not yet normalised.
        samples: if above zero and below N, take this many features, drawn without replacement.
        seed: seed of that draw.
        block: rows and columns of distances held at once.

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
    vectors = features.to(torch.float64)
    directed = vectors.norm(dim=1) > 0
    zero_vectors = int((~directed).sum())
    vectors = F.normalize(vectors[directed], dim=1, eps=0.0)
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
        zero_vectors=zero_vectors,
        floored_pairs=floored,
    )
