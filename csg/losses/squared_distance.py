"""Squared distances between what is trained and what it started from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def feature_distance(features: Tensor, anchors: Tensor) -> Tensor:
    """Mean over the batch of |f - f*|^2, for (N, C) features and anchors (ROAD, Chen et al., CVPR 2018)."""
    return (features - anchors).square().sum(dim=1).mean()


def weight_distance(triples: Iterable[tuple[Tensor, Tensor, Tensor | None]]) -> Tensor:
    """sum_k Omega_k (theta_k - theta*_k)^2 (Zenke et al., 2017, equation 4, without its factor c).

    Args:
        triples: weights, their anchors and their importances (None counts as 1), each of one shape.

    Returns:
        A scalar.
    """
    terms = []
    for weight, anchor, importance in triples:
        squared = (weight - anchor).square()
        terms.append((squared if importance is None else importance * squared).sum())
    return torch.stack(terms).sum()
