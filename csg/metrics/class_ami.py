"""ClassAMI: whether the predicted classes are the clusters that the features form."""

from __future__ import annotations

from torch import Tensor

from csg.metrics.rows import is_degenerate, order_rows, predict_classes, unit_rows

WORST = -1.0
"""Below what adjusted mutual information can be."""
STARTS = 3
"""Starts of k-means, of which the best is kept."""


def class_ami(logits: Tensor, features: Tensor, *, seed: int = 0) -> float:
    """Score the predicted classes against a k-means clustering of V into C clusters, by adjusted mutual information.

    Source: Musgrave et al., "Three New Validators and a Large-Scale Benchmark Ranking for Unsupervised Domain
    Adaptation" (arXiv 2208.07360); adjusted for chance as Vinh et al. (JMLR 2010).

    The order of the images does not matter: k-means sees the features in an order of their own (see
    :func:`csg.metrics.rows.order_rows`). It runs in one thread, since sums in several threads are not repeatable.

    Args:
        logits: (N, C).
        features: (N, D), not yet normalised.
        seed: seed of the starts of k-means.

    Returns:
        1 where classes and clusters are the same, about 0 where they agree by chance, and -1 for a degenerate model.
        With fewer than C distinct features, each is a cluster. Higher is better.
    """
    if is_degenerate(logits=logits, features=features):
        return WORST
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_mutual_info_score
    from threadpoolctl import threadpool_limits

    vectors = unit_rows(features).round(decimals=12)  # directions that differ by rounding are one
    order, distinct = order_rows(vectors)
    with threadpool_limits(limits=1):
        k_means = KMeans(min(logits.shape[1], distinct), n_init=STARTS, random_state=seed).fit(vectors[order].numpy())
        return float(adjusted_mutual_info_score(predict_classes(logits[order]).numpy(), k_means.labels_))
