"""MixVal: whether a mixture of two images is answered like the image that makes up most of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from csg.metrics.rows import is_degenerate, predict_classes
from csg.randomness import make_generator

WORST = 0.0
"""The least that an accuracy can be."""
RATIO = 0.55
"""Share of the first image in a mixture, as published."""


def choose_partners(count: int, *, seed: int) -> Tensor:
    """Choose the second image of each mixture: every image once, and none for itself unless it is the only one.

    Args:
        count: number of images.
        seed: seed of the draw, over the caller's fixed order of images.

    Returns:
        (count,) indices.
    """
    ring = make_generator(seed, "mixval").permutation(count)
    partners = np.empty(count, dtype=np.int64)
    partners[ring] = np.roll(ring, 1)
    return torch.from_numpy(partners)


def choose_partners_by_class(predicted: Tensor, *, seed: int) -> Tensor:
    """Choose the second image of each mixture so that half are within a predicted class, and half across classes.

    Within a class, and across, the partner is the next such image on a ring of all images. An image that has none of
    the kind it is to have gets one of the other.

    Args:
        predicted: (N,) classes.
        seed: seed of the ring, over the caller's fixed order of images.

    Returns:
        (N,) indices; none is its own partner unless it is the only image.
    """
    ring = make_generator(seed, "mixval").permutation(len(predicted))
    classes = predicted.numpy()
    partners = np.empty(len(ring), dtype=np.int64)
    for place, image in enumerate(ring):
        after = np.roll(ring, -place)[1:]
        alike = classes[after] == classes[image]
        fitting = after[alike == (place % 2 == 0)]
        partners[image] = next(iter([*fitting[:1], *after[:1], image]))
    return torch.from_numpy(partners)


def mix_images(images: Tensor, partners: Tensor) -> Tensor:
    """Mix each image with its partner, ``RATIO`` of the image and the rest of the partner.

    Args:
        images: (N, ...) images as the model takes them; a batch, or all.
        partners: (N, ...) their partners, such as ``images[choose_partners(N, seed=0)]``.
    """
    return torch.lerp(partners, images, RATIO)


def mixval(logits: Tensor, partner_logits: Tensor, *, mixed_logits: Tensor) -> float:
    """Accuracy on mixtures of target images against the class predicted for each mixture's first image.

    Source: Hu et al., "Mixed Samples as Probes for Unsupervised Model Selection in Domain Adaptation" (NeurIPS 2023).
    Two accuracies are averaged: of mixtures within a predicted class, which probe how dense the classes are, and of
    mixtures across classes, which probe the boundary. Where there is no mixture of a kind, the other one counts.

    Departures: at most a few dozen images are mixed, each once (:func:`choose_partners_by_class`; of maps, where a
    window has places of both kinds, :func:`choose_partners`), for the sake of time.

    Args:
        logits: (N, C) of the first images.
        partner_logits: (N, C) of the second images, by the same model.
        mixed_logits: (N, C) of the mixtures that :func:`mix_images` makes.

    Returns:
        From 0, which is also what a degenerate model gets, to 1. Higher is better.
    """
    if is_degenerate(logits=logits) or not torch.isfinite(torch.stack([partner_logits, mixed_logits])).all():
        return WORST
    expected = predict_classes(logits)
    hits = (predict_classes(mixed_logits) == expected).to(torch.float64)
    within = predict_classes(partner_logits) == expected
    return float(torch.stack([kind.mean() for kind in (hits[within], hits[~within]) if len(kind)]).mean())
