"""The two views of an image: crops, RandAugment (Cubuk et al., 2020, arXiv:1909.13719), PASTA or colour jitter.

Kornia's own RandAugment draws once for a batch; here an image's draws are a function of (seed, epoch, sample, view)
and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from csg.config import DataConfig
from csg.data.fault import BadImageError
from csg.data.pair import Stream
from csg.data.views.colour_jitter import colour_jitter
from csg.data.views.operations import OPERATIONS
from csg.data.views.pasta import pasta
from csg.randomness import make_generator

Apply = Callable[[Tensor, Tensor], Tensor]
_OPERATIONS: Final = tuple(OPERATIONS.values())


@dataclass(frozen=True)
class Views:
    """What training sees of some images."""

    query: Tensor
    """(n, 3, S, S) uint8."""
    key: Tensor | None
    """Its like; None where the key's view is the query's."""
    labels: Tensor
    """(n,) or (n, S, S) int64, of the query."""
    indices: Tensor
    """(n,) places in the source stream of the images that could be read."""
    bad: tuple[BadImageError, ...]
    """One for every image that could not."""


def draw_views(stream: Stream, indices: Tensor, *, config: DataConfig, seed: int, epoch: int, two_views: bool) -> Views:
    """Read images once and draw the query's and the key's view of each.

    RandAugment and PASTA change both, each cut out at a place of its own (on dense tasks at the same); colour jitter
    the key alone, a copy of the query's crop. Without augmentation both are the middle square; with ``two_views``
    false the key is the query itself.

    Args:
        stream: where the images are.
        indices: (N,) places in it.
    """
    if config.augmentation == "none":
        reading = stream.read_centre(indices)
        return Views(reading.views[0], None, reading.labels, reading.indices, reading.bad)
    if config.augmentation == "colour_jitter":
        reading = stream.read_crops(indices, seed=seed, epoch=epoch, views=1)
        query, places, key = reading.views[0], reading.indices, None
        if two_views:
            key = colour_jitter(query, indices=places, seed=seed, epoch=epoch, strength=config.jitter)
        return Views(query, key, reading.labels, places, reading.bad)
    reading = stream.read_crops(indices, seed=seed, epoch=epoch, views=2 if two_views else 1)
    augment: Callable[..., Tensor]
    if config.augmentation == "pasta":
        augment = partial(pasta, alpha=config.pasta_alpha, k=config.pasta_k, beta=config.pasta_beta)
    else:
        augment = partial(rand_augment, ops=config.augmentation_ops, magnitude=config.augmentation_magnitude)
    views = [
        augment(images, indices=reading.indices, seed=seed, epoch=epoch, view=number)
        for number, images in enumerate(reading.views)
    ]
    return Views(views[0], views[1] if two_views else None, reading.labels, reading.indices, reading.bad)


def rand_augment(
    images: Tensor, *, indices: Tensor, seed: int, epoch: int, view: int, ops: int, magnitude: int
) -> Tensor:
    """Apply ``ops`` operations to each image, drawn with replacement.

    Args:
        images: (N, 3, S, S) uint8.
        indices: (N,) places in the source stream; with seed, epoch and view they name the draws.
        ops: operations per image.
        magnitude: 0 to 30, the same for every operation.

    Returns:
        (N, 3, S, S) uint8.

    Raises:
        ValueError: images of another type or shape, or not as many indices as images.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected (N, 3, S, S) uint8, found {tuple(images.shape)} {images.dtype}")
    if indices.shape != images.shape[:1]:
        raise ValueError(f"indices: expected one for each of {len(images)} images, found shape {tuple(indices.shape)}")
    draws = [
        make_generator(seed, "augmentation", epoch, index, view).random((ops, 2)).tolist() for index in indices.tolist()
    ]
    # A grey image that was expanded to three channels is worked on once: every operation treats channels alike.
    grey = images.stride(1) == 0
    views = (images[:, :1] if grey else images).contiguous()
    for step in range(ops):
        # By what is called, not by operation: the five that move pixels are one call.
        groups: dict[Apply, tuple[list[int], list[tuple[float, ...]]]] = defaultdict(lambda: ([], []))
        for place, draw in enumerate(draws):
            which, way = draw[step]
            operation = _OPERATIONS[int(which * len(_OPERATIONS))]
            places, parameters = groups[operation.apply]
            places.append(place)
            parameters.append(operation.parameters(operation.compute_amount(magnitude, forwards=way < 0.5)))
        drawn = torch.empty_like(views)
        for apply, (places, parameters) in groups.items():
            chosen = torch.tensor(places, device=views.device)
            drawn[chosen] = apply(views[chosen], torch.tensor(parameters, device=views.device))
        views = drawn
    return views.expand(-1, 3, -1, -1) if grey else views
