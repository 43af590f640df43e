"""Rows of logits and features from maps, so that validators score segmentations as they score images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from csg.metrics.subset import choose_images


def choose_places(images: int, *, height: int, width: int, limit: int, seed: int) -> Tensor:
    """Choose places of the images' feature maps, the same ones for the same seed.

    Args:
        images: number of images, in the caller's fixed order.
        height: rows of one image's feature map.
        width: columns of one image's feature map.
        limit: how many places at most, over all images.
        seed: seed of the draw.

    Returns:
        (P, 3) image, row and column of each place, sorted.
    """
    flat = choose_images(images * height * width, limit=limit, seed=seed)
    image, place = flat // (height * width), flat % (height * width)
    return torch.stack([image, place // width, place % width], dim=1)


def rows_of_places(logits: Tensor, features: Tensor, *, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return one row of logits and one of features for each place.

    A place covers the pixels that adaptive average pooling gives it. Its class probabilities are their mean, and its
    logits are the logarithms of these, finite wherever the pixels' logits are. Takes the memory of one more copy of the
    logits.

    Args:
        logits: (N, C, H, W) of pixels.
        features: (N, D, h, w), the last stage's maps of the same images.
        places: (P, 3) image, row and column in the feature maps.

    Returns:
        (P, C) logits, in float32 or finer, and (P, D) features.
    """
    image, row, column = places.to(logits.device).unbind(dim=1)
    probabilities = logits.softmax(dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))
    means = F.adaptive_avg_pool2d(probabilities, (features.shape[2], features.shape[3]))[image, :, row, column]
    return means.clamp_min(torch.finfo(means.dtype).tiny).log(), features[image, :, row, column]
