"""Streams whose images have a class for every pixel."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from csg.data.fault import BadImageError
from csg.data.maps.crops import centre_crop, make_tensors, random_crop
from csg.data.maps.label_maps import Bytes
from csg.data.pair import Reading, Stream
from csg.randomness import make_generator


class MapStream(Stream):
    """Reads images and class maps together: whole for evaluation, squares for training."""

    def __init__(self, side: int, *, mirror: bool, first: int = 0) -> None:
        """Take the side of the squares in pixels, and whether an image and its mirror image mean the same.

        Args:
            side: of the squares.
            mirror: whether every other square is its own mirror image.
            first: number under which the first image's random draws are addressed, where streams are joined.
        """
        self._side = side
        self._mirror = mirror
        self._first = first

    @abstractmethod
    def decode(self, index: int) -> tuple[Image.Image, Bytes]:
        """Return an image (RGB) and its (H, W) classes and ``VOID``, of one size.

        Raises:
            BadImageError: one of them cannot be read.
        """

    def read(self, indices: Tensor) -> Reading:
        """Return whole images and maps at full size, of those that can be read.

        Raises:
            ValueError: they are not all of one size.
        """
        return self._read(indices, lambda picture, classes, _: make_tensors(picture, classes), views=1)

    def read_centre(self, indices: Tensor) -> Reading:
        """Return the middle square of each image that can be read."""
        return self._read(indices, lambda picture, classes, _: centre_crop(picture, classes, self._side), views=1)

    def read_crops(self, indices: Tensor, *, seed: int, epoch: int, views: int) -> Reading:
        """Return one square of each image that can be read, the same for every view.

        Scale, place and mirroring are a function of the seed, the epoch and the image.
        """

        def crop(picture: Image.Image, classes: Bytes, index: int) -> tuple[Tensor, Tensor]:
            rng = make_generator(seed, "map crop", epoch, self._first + index)
            return random_crop(picture, classes, self._side, rng, mirror=self._mirror)

        return self._read(indices, crop, views=views)

    def _read(
        self, indices: Tensor, cut: Callable[[Image.Image, Bytes, int], tuple[Tensor, Tensor]], *, views: int
    ) -> Reading:
        pixels: list[Tensor] = []
        labels: list[Tensor] = []
        kept: list[int] = []
        bad: list[BadImageError] = []
        for index in indices.tolist():
            try:
                picture, classes = self.decode(index)
            except BadImageError as error:
                bad.append(error)
                continue
            cut_pixels, cut_labels = cut(picture, classes, index)
            pixels.append(cut_pixels)
            labels.append(cut_labels)
            kept.append(index)
        sizes = {tuple(one.shape[1:]) for one in pixels} or {(self._side, self._side)}
        if len(sizes) > 1:
            raise ValueError(f"indices: expected images of one size, found {sorted(sizes)}; read them one by one")
        size = sizes.pop()
        images = torch.stack(pixels) if pixels else torch.empty(0, 3, *size, dtype=torch.uint8)
        maps = torch.stack(labels) if labels else torch.empty(0, *size, dtype=torch.int64)
        return Reading(
            views=(images,) * views, labels=maps, indices=torch.tensor(kept, dtype=torch.int64), bad=tuple(bad)
        )


class ArrayMapStream(MapStream):
    """Images and class maps held in memory."""

    def __init__(self, pixels: Bytes, classes: Bytes, side: int, *, mirror: bool) -> None:
        """Take (N, H, W, 3) pixels and (N, H, W) classes and ``VOID``; for the others see :class:`MapStream`."""
        super().__init__(side, mirror=mirror)
        self._pixels = pixels
        self._classes = classes
        digest = hashlib.sha256(str(pixels.shape).encode())
        digest.update(np.ascontiguousarray(pixels).tobytes())
        digest.update(np.ascontiguousarray(classes).tobytes())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._classes)

    def decode(self, index: int) -> tuple[Image.Image, Bytes]:
        """See :class:`MapStream`."""
        return Image.fromarray(self._pixels[index]), self._classes[index]
