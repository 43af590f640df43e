"""Rows of logits and of features in the one form that the validators compute in: float64, on the CPU.

One form makes a score independent of the device and of the precision that a model was evaluated in.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

COLLAPSED = 1e-5
"""Unit vectors that all lie within this distance count as one: batches of other sizes round by about as much."""


def to_float64(rows: Tensor) -> Tensor:
    """Return the numbers in float64 on the CPU, without their gradient."""
    return rows.detach().to("cpu", torch.float64)


def class_probabilities(logits: Tensor) -> Tensor:
    """Return P, the (N, C) softmax of the logits, in float64."""
    return to_float64(logits).softmax(dim=1)


def predict_classes(logits: Tensor) -> Tensor:
    """Return y, the (N,) indices of the largest logits; the first where several are equal."""
    return to_float64(logits).argmax(dim=1)


def unit_rows(features: Tensor) -> Tensor:
    """Return V, the (N, D) rows divided by their lengths, in float64; a row of zeros stays one."""
    return F.normalize(to_float64(features), dim=1, eps=torch.finfo(torch.float64).tiny)


def order_rows(rows: Tensor) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], int]:
    """Find an order of the rows that depends on their values alone, not on the order that they come in.

    Args:
        rows: (N, D) finite numbers.

    Returns:
        The (N,) indices of the rows in this order, and how many distinct rows there are. Rows are compared entry by
        entry as big-endian bytes: by size where entries are not negative.
    """
    matrix = (to_float64(rows).numpy() + 0.0).astype(">f8")  # -0.0 + 0.0 is 0.0: equal numbers get equal bytes
    keys = [row.tobytes() for row in matrix]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.intp), len(set(keys))


def is_degenerate(*, logits: Tensor | None = None, features: Tensor | None = None) -> bool:
    """Tell whether a model can not be right: broken numbers, one class for all images, or one feature for all.

    Several validators prefer such a model to every other one; all of them give it their worst score instead. A model
    that is not quite so bad, such as one that answers one class for all images but one, is scored like any other.

    Args:
        logits: (N, C); a single image has one class, and so has a pair of one class.
        features: (N, D); they have collapsed when their directions lie within :data:`COLLAPSED`.
    """
    return (logits is not None and (not _is_finite(logits) or len(set(predict_classes(logits).tolist())) < 2)) or (
        features is not None and (not _is_finite(features) or _have_collapsed(features))
    )


def _is_finite(rows: Tensor) -> bool:
    return bool(torch.isfinite(rows).all())


def _have_collapsed(features: Tensor) -> bool:
    if len(features) < 2:
        return True
    vectors = unit_rows(features)
    return float((vectors.amax(dim=0) - vectors.amin(dim=0)).norm()) <= COLLAPSED
