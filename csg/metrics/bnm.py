"""Nuclear norm of the predictions: large where they are sure and where they span many classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from csg.metrics.rows import class_probabilities, is_degenerate

WORST = 0.0
"""Below every sound model, which has at least 1 / C."""


def bnm(logits: Tensor) -> float:
    """Nuclear norm of the (N, C) class probabilities, divided by sqrt(N C) so that sizes compare.

    Source: Cui et al., "Towards Discriminability and Diversity: Batch Nuclear-norm Maximization under Label
    Insufficient Situations" (CVPR 2020), there a loss of a batch; a validator in Musgrave et al. (arXiv 2208.07360).
    The norm is at most sqrt(min(N, C) N).

    Args:
        logits: (N, C).

    Returns:
        Up to sqrt(min(N, C) / C), reached when every image is sure and the classes are equally large; a degenerate
        model gets 0. Higher is better.
    """
    if is_degenerate(logits=logits):
        return WORST
    probabilities = class_probabilities(logits)
    return float(torch.linalg.matrix_norm(probabilities, ord="nuc")) / math.sqrt(probabilities.numel())
