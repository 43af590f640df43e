"""Intervals over test images: the percentile bootstrap (Efron, Annals of Statistics 1979).

Images are resampled from stored predictions while the trained models stay the same. So these intervals do not contain
the spread over seeds; see ``analysis.inference.t_tests`` for that.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.inference.t_tests import LEVEL, Interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 2000
BLOCK = 2_000_000
"""The numbers in one block of resamples, which makes 16 MB an array."""


@dataclass(frozen=True)
class ImageBootstrap:
    """A figure over test images, a fraction, and its interval over other images of the same kind."""

    value: float
    interval: Interval
    images: int


def accuracy_bootstrap(
    correct: ArrayLike, labels: ArrayLike, *, mean_class: bool, resamples: int = RESAMPLES, seed: int = 0
) -> ImageBootstrap:
    """Return the accuracy averaged over runs, with its interval over test images, which all runs share.

    Args:
        correct: (runs, images), bool or 0 and 1: whether a run classified an image correctly.
        labels: (images,), the images' true classes.
        mean_class: average the accuracies of the classes (VisDA-17's metric) instead of counting all images alike.
            A resample without images of a class leaves the class out, as ``csg.metrics.accuracy`` does.

    Raises:
        ValueError: shapes that do not fit, no runs or images, or entries that are neither 0 nor 1.
    """
    classes = _check_classes(labels)
    hits = _average_hits(correct, classes)
    groups = classes if mean_class else np.zeros_like(classes)
    # Images of one class with the same hits are interchangeable, so only how often each kind of image is drawn matters:
    # that is multinomial too, over a few dozen kinds instead of 55,388 images.
    kinds, sizes = np.unique(np.stack([groups, hits]), axis=1, return_counts=True)
    members = (kinds[0][:, None] == np.unique(kinds[0])).astype(np.float64)

    def accuracy(weights: NDArray[Any]) -> Floats:
        sums, totals = (weights * kinds[1]) @ members, weights @ members
        means = np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0)
        return np.asarray(means.sum(axis=1) / (totals > 0).sum(axis=1))

    rng = np.random.default_rng(seed)
    shares = sizes / sizes.sum()
    draws = [
        accuracy(rng.multinomial(len(hits), shares, size=size))
        for size in _divide_into_blocks(resamples, kinds.shape[1])
    ]
    value = float(accuracy(sizes[None])[0])
    return ImageBootstrap(value, percentile_interval(np.concatenate(draws)), len(hits))


def mean_iou_bootstrap(confusions: ArrayLike) -> ImageBootstrap:
    """Return the mean IoU averaged over runs, with its interval over test images, which all runs share.

    The confusions of the images drawn are summed before the division, as for the figure itself. A resample leaves out
    a class that is neither in its labels nor in its answers.

    Args:
        confusions: (runs, images, classes, classes) pixels of each image, by true and by predicted class.

    Raises:
        ValueError: another shape, no runs or images, or counts that are negative or all zero.
    """
    counts = np.asarray(confusions)
    if counts.ndim != 4 or 0 in counts.shape or counts.shape[2] != counts.shape[3]:
        raise ValueError(
            f"Expected (runs, images, classes, classes) with at least one run and image, found {counts.shape}: stack "
            "the runs' confusions of the same images in the same order."
        )
    if (counts < 0).any() or not counts.any():
        raise ValueError("Expected counts of pixels, found negative ones or none at all: pass confusion matrices.")
    runs, images, classes, _ = counts.shape
    flat = counts.reshape(runs, images, classes * classes).astype(np.float64)

    def mean_iou(weights: NDArray[Any]) -> Floats:
        """(resamples of the block,)."""
        summed = np.stack([(weights @ each).reshape(-1, classes, classes) for each in flat])
        hits = np.diagonal(summed, axis1=2, axis2=3)
        unions = summed.sum(axis=2) + summed.sum(axis=3) - hits
        shares = np.divide(hits, unions, out=np.zeros_like(hits), where=unions > 0)
        occurring = np.maximum((unions > 0).sum(axis=2), 1)
        return np.asarray((shares.sum(axis=2) / occurring).mean(axis=0))

    value = float(mean_iou(np.ones((1, images)))[0])
    return ImageBootstrap(value, percentile_interval(resample(images, RESAMPLES, mean_iou)), images)


def resample(n: int, resamples: int, statistic: Callable[[Ints], Floats], *, width: int = 0) -> Floats:
    """Draw ``n`` points with replacement, ``resamples`` times, and return the statistic of each draw.

    Args:
        n: the number of points.
        resamples: the number of draws.
        statistic: maps how often each point is drawn, (resamples of a block, n), to (resamples of the block, figures).
        width: numbers a resample that the statistic works on, where that is more than n.
    """
    rng = np.random.default_rng(0)
    blocks = []
    for size in _divide_into_blocks(resamples, max(n, width)):
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        blocks.append(statistic(np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)))
    return np.concatenate(blocks)


def resample_groups(groups: Sequence[Hashable], resamples: int, statistic: Callable[[Ints], Floats]) -> Floats:
    """Draw groups of points with replacement, as many as there are; like :func:`resample`, of whole groups.

    Args:
        groups: the group of each of n points, which are drawn together.
        resamples: the number of draws.
        statistic: see :func:`resample`.
    """
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    places = np.array([numbers[group] for group in groups])
    return resample(len(numbers), resamples, lambda counts: statistic(counts[:, places]), width=len(places))


def percentile_interval(draws: Floats) -> Interval:
    """Return the middle ``LEVEL`` of ``draws``, (resamples,)."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _divide_into_blocks(resamples: int, width: int) -> list[int]:
    """Divide ``resamples`` rows of ``width`` numbers into blocks that fit ``BLOCK``."""
    if resamples < 1:
        raise ValueError(f"Expected at least 1 resample, found {resamples}: {RESAMPLES} are usual.")
    rows = max(BLOCK // width, 1)
    return [min(rows, resamples - start) for start in range(0, resamples, rows)]


def _check_classes(labels: ArrayLike) -> Ints:
    """Check the images' true classes, (images,)."""
    classes = np.asarray(labels)
    if classes.ndim != 1 or classes.size == 0 or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(
            f"Expected the true class of each image as integers (images,), found {classes.dtype} {classes.shape}: "
            "pass the labels stored with the predictions."
        )
    return classes.astype(np.int64)


def _average_hits(correct: ArrayLike, classes: Ints) -> Floats:
    """Return the share of runs that classify each image correctly, (images,)."""
    hits = np.asarray(correct)
    if hits.ndim != 2 or hits.shape[0] == 0 or hits.shape[1] != len(classes):
        raise ValueError(
            f"Expected (runs, images) with {len(classes)} images and at least one run, found {hits.shape}: "
            "stack the runs' predictions on the same images in the same order."
        )
    if not np.isin(hits, (0, 1)).all():
        raise ValueError("Expected 0 or 1 for each image, found other values: pass predictions == labels.")
    return np.asarray(hits.mean(axis=0, dtype=np.float64))
