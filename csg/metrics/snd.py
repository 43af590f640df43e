"""Soft neighbourhood density: how many images each image is about equally near to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from csg.metrics.rows import class_probabilities, is_degenerate

WORST = 0.0
"""An entropy is never below zero."""
BLOCK = 1024
"""Rows of similarities that are worked on at once."""


def snd(logits: Tensor, *, temperature: float = 0.05) -> float:
    """Mean entropy, in nats, of each image's softmax over its similarities to all other images.

    Source: Saito et al., "Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft Neighborhood
    Density" (ICCV 2021): cosine similarities of the class probabilities, an image's similarity to itself left out.
    A network that answers one class makes one dense neighbourhood, so it gets the worst score.

    Args:
        logits: (N, C).
        temperature: divides the similarities.

    Returns:
        From 0, which is also what a degenerate model gets, to log(N - 1). Higher is better.
    """
    if is_degenerate(logits=logits):
        return WORST
    vectors = F.normalize(class_probabilities(logits), dim=1)
    total = 0.0
    for start in range(0, len(vectors), BLOCK):
        similarities = vectors[start : start + BLOCK] @ vectors.T / temperature
        similarities.diagonal(offset=start).fill_(-torch.inf)
        total += float(torch.special.entr(similarities.softmax(dim=1)).sum())
    return total / len(vectors)
