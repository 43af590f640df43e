"""ClassSS: whether images lie nearer to their own predicted class than to the next."""

from __future__ import annotations

from torch import Tensor

from csg.metrics.hyperspherical_energy import FLOOR
from csg.metrics.rows import is_degenerate, predict_classes, unit_rows

WORST = -1.0
"""The least that a silhouette can be."""


def class_silhouette(logits: Tensor, features: Tensor) -> float:
    """Mean silhouette of V under the predicted classes, with Euclidean distances.

    Source: Rousseeuw (J. Comput. Appl. Math. 1987): (b - a) / max(a, b) with a the mean distance to an image's own
    class and b that to the nearest other class, and 0 for an image that is alone in its class. A validator ("ClassSS")
    in Musgrave et al. (arXiv 2208.07360). Takes the time and the memory of N x N distances.

    Args:
        logits: (N, C).
        features: (N, D), not yet normalised.

    Returns:
        From -1, which is also what a degenerate model gets, to 1. Higher is better.
    """
    if is_degenerate(logits=logits, features=features):
        return WORST
    from sklearn.metrics import silhouette_score

    predicted = predict_classes(logits)
    if len(set(predicted.tolist())) == len(predicted):
        return 0.0  # every image is alone in its class, for which scikit-learn has no value
    return float(silhouette_score(_distances(unit_rows(features)).numpy(), predicted.numpy(), metric="precomputed"))


def _distances(vectors: Tensor) -> Tensor:
    """Return the (N, N) distances; those below ``FLOOR`` are rounding and count as 0."""
    squares = vectors.square().sum(dim=1)
    distances = (vectors @ vectors.T).mul_(-2).add_(squares).add_(squares[:, None]).clamp_min_(0).sqrt_()
    return distances.masked_fill_(distances < FLOOR, 0)
