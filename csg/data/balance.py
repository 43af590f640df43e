"""The order in which training sees the images of one source or several: as they are, or every source as often."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from csg.config import DataConfig
from csg.data.pair import Reading, Stream
from csg.data.reading.joined import merge_readings
from csg.randomness import make_generator

APART: Final = 1 << 20
"""Epochs by which the random draws of an image are moved when it comes again within one epoch."""


def balance_stream(stream: Stream, config: DataConfig) -> Stream:
    """Return the stream that :func:`draw_order` gives the places of: itself, or one whose images may come again."""
    return RepeatedStream(stream) if config.balance == "equally" else stream


def draw_order(stream: Stream, config: DataConfig, *, seed: int, epoch: int) -> Tensor:
    """Draw the order of an epoch: a function of the seed and the epoch.

    Args:
        stream: N training images.
        config: ``balance`` says how sources take turns.
        seed: of the run.
        epoch: 0 for the first.

    Returns:
        (N,) places. With ``data.balance=equally`` they are those of a :class:`RepeatedStream`: S sources take turns,
        each with a permutation of its images after another, so that every batch has as many of one as of another.
    """
    count = len(stream)
    if config.balance == "by_size":
        return torch.from_numpy(make_generator(seed, "order", epoch).permutation(count))
    sources = stream.sources
    members = [torch.nonzero(sources == source).flatten() for source in torch.unique(sources).tolist()]
    order = torch.empty(count, dtype=torch.int64)
    for number, images in enumerate(members):
        turns = len(range(number, count, len(members)))
        rounds = [
            images[torch.from_numpy(make_generator(seed, "order", epoch, number, again).permutation(len(images)))]
            + again * count
            for again in range(-(-turns // len(images)))
        ]
        order[number :: len(members)] = torch.cat(rounds)[:turns]
    return order


class RepeatedStream(Stream):
    """N images over and over: place p is image p mod N, cut and changed in another way every time it comes."""

    def __init__(self, stream: Stream) -> None:
        """Take the images."""
        self._stream = stream

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """See :class:`~csg.data.pair.Stream`."""
        return hashlib.sha256(f"repeated {self._stream.fingerprint}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._stream)

    @property
    def sources(self) -> Tensor:
        """See :class:`~csg.data.pair.Stream`."""
        return self._stream.sources

    def read(self, indices: Tensor) -> Reading:
        """See :class:`~csg.data.pair.Stream`."""
        return self._read(indices, lambda places, _: self._stream.read(places))

    def read_centre(self, indices: Tensor) -> Reading:
        """See :class:`~csg.data.pair.Stream`."""
        return self._read(indices, lambda places, _: self._stream.read_centre(places))

    def read_crops(self, indices: Tensor, *, seed: int, epoch: int, views: int) -> Reading:
        """See :class:`~csg.data.pair.Stream`."""
        return self._read(
            indices,
            lambda places, again: self._stream.read_crops(places, seed=seed, epoch=epoch + again * APART, views=views),
        )

    def _read(self, indices: Tensor, read: Callable[[Tensor, int], Reading]) -> Reading:
        """Read the images that come for the first time, those that come again, and so on, and keep their order."""
        rounds = indices // len(self)
        readings, places, positions = [], [], []
        for again in torch.unique(rounds).tolist():
            asked = torch.nonzero(rounds == again).flatten()
            reading = read(indices[asked] - again * len(self), again)
            readings.append(reading)
            places.append(reading.indices + again * len(self))
            positions.append(asked[torch.isin(indices[asked], places[-1])])
        return merge_readings(readings, places, positions) if readings else read(indices, 0)
