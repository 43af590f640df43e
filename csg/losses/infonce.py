"""InfoNCE against a queue of negatives (CSG, equation 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_logits(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Similarities divided by the temperature, the positive first.

    Args:
        query: (N, D) l2-normalised query embeddings.
        key: (N, D) l2-normalised embeddings of the same images.
        negatives: (K, D) l2-normalised embeddings of other images.
        temperature: tau, above zero.

    Returns:
        (N, 1 + K) logits.
    """
    positive = (query * key).sum(dim=1, keepdim=True)
    return torch.cat([positive, query @ negatives.T], dim=1) / temperature


def info_nce(logits: Tensor) -> Tensor:
    """Mean over the batch of -log(exp(z_0) / sum_j exp(z_j)), the positive's logit being z_0.

    Args:
        logits: (N, 1 + K) from :func:`contrastive_logits`.

    Returns:
        A scalar.
    """
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def ranking_accuracy(logits: Tensor) -> Tensor:
    """Fraction of queries whose positive is nearer than every negative.

    Args:
        logits: (N, 1 + K), the positive first.
    """
    return (logits.argmax(dim=1) == 0).to(torch.float64).mean()
