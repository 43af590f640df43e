"""Average thresholded confidence: the target accuracy that confidence on the source predicts."""

from __future__ import annotations

import torch
from torch import Tensor

from csg.metrics.rows import class_probabilities, is_degenerate, predict_classes

WORST = 0.0
"""The least that a share can be."""


def atc(logits: Tensor, source_logits: Tensor, *, source_labels: Tensor) -> float:
    """Share of target images whose confidence reaches the threshold that the source's error rate sets.

    Source: Garg et al., "Leveraging Unlabeled Data to Predict Out-of-Distribution Performance" (ICLR 2022), with the
    largest class probability as confidence ("ATC-MC"). The threshold is such that as many held-out source images lie
    below it as are classified wrongly; where confidences are equal, it is the largest with no more than that below.
    A network that answers one class surely gets the worst score.

    Args:
        logits: (N, C) of target images.
        source_logits: (M, C) of held-out source images.
        source_labels: (M,) their classes.

    Returns:
        From 0, which is also what a degenerate model gets, to 1. Higher is better.
    """
    if is_degenerate(logits=logits) or not torch.isfinite(source_logits).all():
        return WORST
    wrong = int((predict_classes(source_logits) != source_labels.cpu()).sum())
    confidences = class_probabilities(source_logits).amax(dim=1).sort().values
    if wrong == len(confidences):
        return WORST
    return float((class_probabilities(logits).amax(dim=1) >= confidences[wrong]).to(torch.float64).mean())
