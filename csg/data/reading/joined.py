"""Several streams of images as one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from csg.data.pair import LabelledImages, Reading, Stream


class JoinedStream(Stream):
    """Streams one after the other; an image's place counts through all of them."""

    def __init__(self, parts: Sequence[Stream]) -> None:
        """Take one stream or more."""
        self.parts = tuple(parts)
        self._ends = torch.tensor([len(part) for part in parts]).cumsum(dim=0)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def has_labels(self) -> bool:
        """See :class:`~csg.data.pair.Stream`."""
        return any(part.has_labels for part in self.parts)

    @property
    def sources(self) -> Tensor:
        """Return which stream each image is of."""
        return torch.repeat_interleave(torch.tensor([len(part) for part in self.parts]))

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """See :class:`~csg.data.pair.Stream`; found when it is asked for."""
        return hashlib.sha256("\n".join(part.fingerprint for part in self.parts).encode()).hexdigest()

    def read(self, indices: Tensor) -> Reading:
        """See :class:`~csg.data.pair.Stream`."""
        return self._read(indices, lambda part, places: part.read(places))

    def read_crops(self, indices: Tensor, *, seed: int, epoch: int, views: int) -> Reading:
        """See :class:`~csg.data.pair.Stream`."""
        return self._read(indices, lambda part, places: part.read_crops(places, seed=seed, epoch=epoch, views=views))

    def read_centre(self, indices: Tensor) -> Reading:
        """See :class:`~csg.data.pair.Stream`."""
        return self._read(indices, lambda part, places: part.read_centre(places))

    def _read(self, indices: Tensor, read: Callable[[Stream, Tensor], Reading]) -> Reading:
        """Let each part read its own images, and put them into the order that was asked for."""
        owners = torch.searchsorted(self._ends, indices, right=True)
        readings: list[Reading] = []
        places: list[Tensor] = []
        positions: list[Tensor] = []
        for number, part in enumerate(self.parts):
            asked = torch.nonzero(owners == number).flatten()
            if len(asked):
                start = int(self._ends[number]) - len(part)
                reading = read(part, indices[asked] - start)
                readings.append(reading)
                places.append(reading.indices + start)
                positions.append(asked[torch.isin(indices[asked], places[-1])])
        if not readings:
            return read(self.parts[0], indices)
        return merge_readings(readings, places, positions)


class JoinedImages(JoinedStream, LabelledImages):
    """Streams of images of one size that have one label each, or none."""

    def __init__(self, parts: Sequence[LabelledImages]) -> None:
        """Take one stream or more."""
        super().__init__(parts)
        self.labels = torch.cat([part.labels for part in parts])

    def load_images(self, indices: Tensor) -> Tensor:
        """See :class:`~csg.data.pair.LabelledImages`."""
        reading = self.read(indices)
        if reading.bad:
            raise reading.bad[0]
        return reading.views[0]


def join_images(parts: Sequence[LabelledImages]) -> LabelledImages:
    """Return one stream of several; a stream that is alone stays what it is."""
    return parts[0] if len(parts) == 1 else JoinedImages(parts)


def join_streams(parts: Sequence[Stream]) -> Stream:
    """Do the same with streams of any kind."""
    return parts[0] if len(parts) == 1 else JoinedStream(parts)


def merge_readings(readings: Sequence[Reading], places: Sequence[Tensor], positions: Sequence[Tensor]) -> Reading:
    """Put several readings of images of one size together.

    Args:
        readings: one at least.
        places: of each the places of its images in the whole.
        positions: of each where its images stand in what was asked for.
    """
    order = torch.cat(list(positions)).argsort()
    return Reading(
        views=tuple(torch.cat(views)[order] for views in zip(*(each.views for each in readings), strict=True)),
        labels=torch.cat([reading.labels for reading in readings])[order],
        indices=torch.cat(list(places))[order],
        bad=tuple(error for reading in readings for error in reading.bad),
        several_frames=sum(reading.several_frames for reading in readings),
    )
