"""Accuracies from counts, so that parts of a data set, measured anywhere, add up exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def confusion_counts(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count predictions.

    Args:
        predicted: (N,) class indices.
        labels: (N,) class indices.
        classes: number of classes.

    Returns:
        (classes, classes) integers; row = true class, column = predicted class.
    """
    flat = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def accuracy(confusion: Tensor) -> float:
    """Fraction of all images that are classified correctly; NaN without images."""
    total = int(confusion.sum())
    return int(confusion.diagonal().sum()) / total if total else float("nan")


def per_class_accuracy(confusion: Tensor) -> list[float]:
    """Fraction of each class's images that are classified correctly; NaN for a class without images."""
    totals = confusion.sum(dim=1).tolist()
    hits = confusion.diagonal().tolist()
    return [hit / total if total else float("nan") for hit, total in zip(hits, totals, strict=True)]


def mean_class_accuracy(confusion: Tensor) -> float:
    """Mean of the per-class accuracies over the classes that have images (VisDA-17's metric)."""
    present = [value for value in per_class_accuracy(confusion) if not math.isnan(value)]
    return sum(present) / len(present) if present else float("nan")
