"""What came of showing a stream to a model: counts and features, from which every figure follows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from csg.collective import own_slice
from csg.config import Config
from csg.data.pair import Reading, Stream
from csg.data.reading.loading import admit, map_in_order
from csg.messages.errors import BadDataError
from csg.models.folding import FoldedEncoder
from csg.models.model import Model, Output


@dataclass(frozen=True)
class Measurement:
    """A model's answers on a stream."""

    confusion: Tensor
    """(classes, classes) counts of labels; row = true class. Labels that are IGNORED are not in it."""
    features: Tensor
    """(N, C): spatially averaged stage-4 maps of the images as they are."""
    answers: dict[str, Tensor]
    """What is kept of each image's answer, by name, N along the first axis; each task has its own."""
    places: Tensor
    """(N,) places of the images in their stream."""
    skipped: int = 0
    """Images that could not be read, and are in none of these."""

    @property
    def has_labels(self) -> bool:
        """Whether any label can say how right the answers are."""
        return bool(self.confusion.any())

    def __add__(self, other: Measurement) -> Measurement:
        return Measurement(
            self.confusion + other.confusion,
            torch.cat([self.features, other.features]),
            {name: torch.cat([kept, other.answers[name]]) for name, kept in self.answers.items()},
            torch.cat([self.places, other.places]),
            self.skipped + other.skipped,
        )


def read_batches(images: Stream, config: Config, *, batch: int) -> Iterator[Reading]:
    """Yield what can be read of a stream, ``batch`` images at a time; in a process group, this process's part.

    Raises:
        BadImageError: an image cannot be read, and ``data.on_bad_image`` is error.
    """
    batches = torch.split(torch.arange(len(images)), batch)
    mine = range(len(batches))[own_slice(len(batches))]
    for reading in map_in_order(lambda n: images.read(batches[n]), mine, workers=config.data.workers):
        admit(reading.bad, config.data)
        if len(reading.indices):
            yield reading


def count_skipped(images: Stream, answered: int, stream: str) -> int:
    """Return how many images of a stream have no answer, because they cannot be read.

    Raises:
        BadDataError: none has one.
    """
    if answered == 0:
        raise BadDataError(f"data.on_bad_image: expected images in {stream}, found none that can be read")
    return len(images) - answered


class Inference:
    """A frozen copy of a model in evaluation mode, its batch norms folded: same answers, half the time."""

    def __init__(self, model: Model, config: Config) -> None:
        """Copy ``model``; ``config`` says where it is and how it wants its input."""
        self._model = model
        self._config = config
        self._encoder = FoldedEncoder(model.encoder)
        self._head = copy.deepcopy(model.head).eval()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Output:
        """Answer for (N, 3, H, W) images as :meth:`input` returns them."""
        height, width = images.shape[-2:]
        return self._model.answer(self._encoder(images), (height, width), self._head)

    def no_features(self) -> Tensor:
        """Return the features of no image, (0, C): what a process without images has."""
        parameter = next(self._model.parameters())
        return torch.empty(0, self._model.encoder.channels[-1], dtype=parameter.dtype)

    def input(self, images: Tensor) -> Tensor:
        """Move uint8 images to the device and normalise them, in the configured memory format."""
        return to_input(self._model, self._config, images)

    def lay_out(self, images: Tensor) -> Tensor:
        """Put (N, 3, H, W) images, such as parts of others, into the configured memory format."""
        return lay_out(images, self._config)


def to_input(model: Model, config: Config, images: Tensor) -> Tensor:
    """Move uint8 images to the device and normalise them, in the configured memory format."""
    moved = images.to(config.train.device, non_blocking=True)
    return lay_out(model.encoder.normalise(moved), config)


def lay_out(images: Tensor, config: Config) -> Tensor:
    """Put (N, 3, H, W) images into the configured memory format."""
    memory_format = torch.channels_last if config.train.channels_last else torch.contiguous_format
    return images.contiguous(memory_format=memory_format)
