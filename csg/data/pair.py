"""What a source/target pair is: streams of labelled images."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from csg.data.fault import BadImageError
from csg.messages.text import encode_text

SOURCE_TRAIN: Final = "source/train"
SOURCE_VAL: Final = "source/val"
SOURCE_SHIFTED: Final = "source/shifted"
"""source/val under distortions that no training view has."""
TARGET_VAL: Final = "target/val"
TARGET_TEST: Final = "target/test"
IGNORED: Final = -100
"""A label that no loss and no figure counts; the number is torch's own default."""


@dataclass(frozen=True)
class Reading:
    """What came of reading some images of a stream."""

    views: tuple[Tensor, ...]
    """Each (n, 3, H, W) uint8, of the same images."""
    labels: Tensor
    """int64: (n,) a class for each image, or (n, H, W) a class for each pixel; IGNORED where there is none."""
    indices: Tensor
    """(n,) places in the stream of the images that could be read."""
    bad: tuple[BadImageError, ...] = ()
    """One for every image that could not."""
    several_frames: int = 0
    """Images on disk among those read of which more frames or pages follow the one that counts; of labelled ones."""


class Stream(ABC):
    """Images with labels, addressed by index."""

    fingerprint: str
    """Hash of what the stream holds."""

    @property
    def has_labels(self) -> bool:
        """Whether any image has a label, so that there is something to be right about."""
        return True

    @property
    def sources(self) -> Tensor:
        """(N,) int64, which of several sources each image is from; 0 where there is one."""
        return torch.zeros(len(self), dtype=torch.int64)

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def read(self, indices: Tensor) -> Reading:
        """Return the one view that evaluation sees, of those images that can be read; all must be of one size."""

    @abstractmethod
    def read_crops(self, indices: Tensor, *, seed: int, epoch: int, views: int) -> Reading:
        """Return ``views`` views as training sees them, (n, 3, S, S) each; every image is read once."""

    @abstractmethod
    def read_centre(self, indices: Tensor) -> Reading:
        """Return the one view, (n, 3, S, S), that training without augmentation sees."""


class LabelledImages(Stream):
    """Images of classes: a label an image."""

    labels: Tensor
    """(N,) int64 class indices; IGNORED of an image without a label."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_labels(self) -> bool:
        """See :class:`Stream`."""
        return bool((self.labels != IGNORED).any())

    @abstractmethod
    def load_images(self, indices: Tensor) -> Tensor:
        """Return (len(indices), 3, S, S) uint8 images, as evaluation sees them: the middle square of each.

        Raises:
            BadImageError: one of them cannot be read.
        """

    def read(self, indices: Tensor) -> Reading:
        """See :class:`Stream`."""
        return Reading((self.load_images(indices),), self.labels[indices], indices)

    def read_crops(self, indices: Tensor, *, seed: int, epoch: int, views: int) -> Reading:
        """Return views that are each cut out at a place of their own.

        Images that are square in memory have nothing to cut off: here all views are the same tensor.
        """
        return Reading((self.load_images(indices),) * views, self.labels[indices], indices)

    def read_centre(self, indices: Tensor) -> Reading:
        """Return what evaluation sees."""
        return self.read(indices)


class ArrayStream(LabelledImages):
    """Grey images held in memory."""

    def __init__(self, grey: Tensor, labels: Tensor, sources: Tensor | None = None) -> None:
        """Take (N, S, S) uint8 images and (N,) int64 labels, and where they are from several sources (N,) int64."""
        self._grey = grey
        self._sources = sources
        self.labels = labels
        digest = hashlib.sha256(np.ascontiguousarray(grey.numpy()).tobytes())
        digest.update(labels.numpy().tobytes())
        self.fingerprint = digest.hexdigest()

    @property
    def sources(self) -> Tensor:
        """See :class:`Stream`."""
        return super().sources if self._sources is None else self._sources

    def choose(self, places: Tensor, sources: Tensor) -> ArrayStream:
        """Return the images at (M,) places, which count as from the (M,) ``sources``."""
        return ArrayStream(self._grey[places], self.labels[places], sources)

    def load_images(self, indices: Tensor) -> Tensor:
        """See :class:`Stream`."""
        return self._grey[indices].unsqueeze(1).expand(-1, 3, -1, -1)


@dataclass(frozen=True)
class Pair:
    """A synthetic source and a real target with the same classes."""

    name: str
    classes: tuple[str, ...]
    streams: Mapping[str, Stream]
    """By name: source/train, source/val and source/shifted; held_out where a source is left out of these; target/val
    where there are real images, of which some or all may have no label; target/test where enough have one."""
    flip_averaging: bool
    """Whether an image and its mirror image show the same class, so that evaluation may average over both."""
    description: str
    """One line for people: what the two domains are and how many images each stream has."""
    sources: tuple[str, ...] = ()
    """Names of the sources, where there are several; a stream says which of them each image is from."""

    @property
    def source_count(self) -> int:
        """How many sources the synthetic images are from."""
        return max(len(self.sources), 1)

    @property
    def fingerprint(self) -> str:
        """Hash of all streams and of the classes."""
        streams = [f"{name} {stream.fingerprint}" for name, stream in sorted(self.streams.items())]
        text = "\n".join([*streams, *self.classes])
        return hashlib.sha256(encode_text(text)).hexdigest()[:16]


def count_labels(labels: Tensor, classes: int) -> list[int]:
    """Return how many of (N,) labels are of each class; those that are IGNORED are of none."""
    counts: list[int] = torch.bincount(labels[labels != IGNORED], minlength=classes).tolist()
    return counts


def split_by_class(labels: Tensor, fraction: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Split indices so that every class gives ``fraction`` of its members (rounded) to the first part.

    Args:
        labels: (N,) class indices.
        fraction: between 0 and 1.
        rng: decides who goes where.

    Returns:
        Two sorted index tensors that together hold 0 to N - 1.
    """
    first = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels).tolist():
        members = torch.nonzero(labels == label).flatten()
        order = torch.from_numpy(rng.permutation(len(members)))
        first[members[order[: round(fraction * len(members))]]] = True
    return torch.nonzero(first).flatten(), torch.nonzero(~first).flatten()
