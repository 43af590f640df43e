"""Agreement with the frozen encoder: images that real-world knowledge calls alike should be called alike."""

from __future__ import annotations

import torch
from torch import Tensor

from csg.metrics.rows import is_degenerate, order_rows, predict_classes, unit_rows

WORST = 0.0
"""The least that a share can be."""
EARLIER = 1e-12
"""By how much an image counts as nearer than the next one in the order; more than what rounding makes of equal ones."""


def teacher_neighbours(logits: Tensor, teacher_features: Tensor, *, neighbours: int = 5) -> float:
    """Share of each image's nearest neighbours in the frozen encoder's space that have its predicted class.

    Neighbours are nearest by cosine. The order of the images does not matter: of equally near ones those count that
    come first in an order of their own (see :func:`csg.metrics.rows.order_rows`). A network that answers one class
    agrees everywhere, so it gets the worst score.

    Args:
        logits: (N, C) of the trained model.
        teacher_features: (N, D) of the frozen encoder, not yet normalised.
        neighbours: how many neighbours an image has; all others where there are fewer.

    Returns:
        From 0, which is also what a degenerate model gets, to 1. Higher is better.
    """
    if is_degenerate(logits=logits, features=teacher_features):
        return WORST
    predicted = predict_classes(logits)
    order, _ = order_rows(torch.column_stack([teacher_features.detach().to("cpu", torch.float64), predicted]))
    vectors, predicted = unit_rows(teacher_features[order]), predicted[order]
    similarities = (vectors @ vectors.T).fill_diagonal_(-torch.inf)
    similarities -= EARLIER * torch.arange(len(vectors), dtype=torch.float64)
    nearest = similarities.topk(min(neighbours, len(vectors) - 1), dim=1).indices
    return float((predicted[nearest] == predicted[:, None]).to(torch.float64).mean())
