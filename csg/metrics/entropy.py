"""Entropy and information maximisation: how sure a model is of each image, and how varied its answers are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from csg.metrics.rows import class_probabilities, is_degenerate

INFOMAX_WORST = 0.0
"""The mutual information of images and classes is never below zero."""


def entropy_worst(classes: int) -> float:
    """Return the least that :func:`entropy` can be, that of uniform probabilities."""
    return -math.log(classes)


def entropy(logits: Tensor) -> float:
    """Minus the mean entropy of the images' class probabilities, -mean_i H(P_i), in nats.

    Source: Morerio et al., "Minimal-Entropy Correlation Alignment for Unsupervised Deep Domain Adaptation" (ICLR 2018).
    A network that answers one class is the surest of all, so it gets the worst score.

    Args:
        logits: (N, C).

    Returns:
        From -log C, which is also what a degenerate model gets, to 0. Higher is better.
    """
    if is_degenerate(logits=logits):
        return entropy_worst(logits.shape[1])
    return max(-_mean_entropy(class_probabilities(logits)), entropy_worst(logits.shape[1]))


def infomax(logits: Tensor) -> float:
    """Mutual information of images and classes, H(mean_i P_i) - mean_i H(P_i), in nats.

    Source: Shi and Sha, "Information-Theoretical Learning of Discriminative Clusters for Unsupervised Domain
    Adaptation" (ICML 2012); "IM" in Musgrave et al. (arXiv 2208.07360).

    Args:
        logits: (N, C).

    Returns:
        From 0, which is also what a degenerate model gets, to log C. Higher is better.
    """
    if is_degenerate(logits=logits):
        return INFOMAX_WORST
    probabilities = class_probabilities(logits)
    of_mean = _mean_entropy(probabilities.mean(dim=0, keepdim=True))
    return max(of_mean - _mean_entropy(probabilities), INFOMAX_WORST)


def _mean_entropy(probabilities: Tensor) -> float:
    return float(torch.special.entr(probabilities).sum(dim=1).mean())
