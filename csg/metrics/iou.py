"""Intersection over union of segmentations, from counts of pixels, so that images add up exactly.

As the Cityscapes benchmark defines it (Cordts et al., CVPR 2016, section 4): one confusion matrix over the pixels of
all images, and void pixels of the truth in none of its cells, whatever was predicted there.
"""

from __future__ import annotations

import math

from torch import Tensor

from csg.metrics.accuracy import confusion_counts


def pixel_counts(predicted: Tensor, labels: Tensor, classes: int, *, ignored: int) -> Tensor:
    """Count the pixels whose truth is a class.

    Args:
        predicted: class indices, of any shape.
        labels: class indices or ``ignored``, of the same shape.
        classes: number of classes.
        ignored: the label of void pixels.

    Returns:
        (classes, classes) integers; row = true class, column = predicted class.
    """
    counted = labels != ignored
    return confusion_counts(predicted[counted], labels[counted], classes)


def iou_per_class(confusion: Tensor) -> list[float]:
    """TP / (TP + FP + FN) of each class, from (C, C) counts; NaN for a class in neither truth nor prediction."""
    hits = confusion.diagonal()
    unions = confusion.sum(dim=0) + confusion.sum(dim=1) - hits
    return [hit / union if union else float("nan") for hit, union in zip(hits.tolist(), unions.tolist(), strict=True)]


def mean_iou(confusion: Tensor) -> float:
    """Mean over the classes that have an IoU; NaN where none has.

    A class that is predicted somewhere but true nowhere counts, with 0.
    """
    present = [value for value in iou_per_class(confusion) if not math.isnan(value)]
    return sum(present) / len(present) if present else float("nan")
