"""What came of showing a stream to a model: counts and features, from which every figure follows."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from csg.collective import gather_rows, get_own_slice
from csg.config import Config
from csg.data.pair import Reading, Stream
from csg.data.reading.loading import admit, map_in_order
from csg.messages.errors import BadDataError
from csg.models.folding import FoldedEncoder
from csg.models.model import Model, Output


@dataclass(frozen=True)
class Rows:
    """What a validator may look at: a row an image, or a row for each of some places of the images. No label."""

    images: Tensor
    """(R,) int64: which image of the stream a row is of."""
    points: Tensor
    """(R, 2) where in it, as shares of its height and width; of whole images the middle."""
    logits: Tensor
    """(R, classes)."""
    features: Tensor
    """(R, D): of the last stage."""

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """Put rows one after the other."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(cls)))

    def choose(self, chosen: Tensor) -> Rows:
        """Return the rows at (M,) places."""
        return Rows(*(getattr(self, field.name)[chosen] for field in dataclasses.fields(self)))

    def gather(self) -> Rows:
        """Return the rows of all processes of a group."""
        return Rows(*(gather_rows(getattr(self, field.name)) for field in dataclasses.fields(self)))


@dataclass(frozen=True)
class Mixtures:
    """Answers to mixtures of two images, a row an image or a place."""

    first: Rows
    """Of the images that make up most of each mixture."""
    partner_logits: Tensor
    """(M, classes) of the images that they are mixed with."""
    mixed_logits: Tensor
    """(M, classes) of the mixtures."""


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
    rows: Rows
    row_labels: Tensor
    """(R,) int64 classes of the rows, or IGNORED. Validators get those of the source alone."""
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
            Rows.join([self.rows, other.rows]),
            torch.cat([self.row_labels, other.row_labels]),
            self.skipped + other.skipped,
        )


def read_batches(images: Stream, config: Config, *, batch: int) -> Iterator[Reading]:
    """Yield what can be read of a stream, ``batch`` images at a time; in a process group, this process's part.

    Raises:
        BadImageError: an image cannot be read, and ``data.on_bad_image`` is error.
    """
    batches = torch.split(torch.arange(len(images)), batch)
    mine = range(len(batches))[get_own_slice(len(batches))]
    for reading in map_in_order(lambda n: images.read(batches[n]), mine, workers=config.data.workers):
        admit(reading.bad, config.data)
        if len(reading.indices):
            yield reading


def read_whole_batch(images: Stream, indices: Tensor) -> Tensor:
    """Return images that could be read before, (n, 3, H, W) uint8.

    Raises:
        BadImageError: one of them cannot be read any more.
    """
    reading = images.read(indices)
    if reading.bad:
        raise reading.bad[0]
    return reading.views[0]


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
        """Answer for (N, 3, H, W) images as :meth:`prepare_input` returns them."""
        height, width = images.shape[-2:]
        return self._model.answer(self._encoder(images), (height, width), self._head)

    def make_empty_features(self) -> Tensor:
        """Return the features of no image, (0, C): what a process without images has."""
        parameter = next(self._model.parameters())
        return torch.empty(0, self._model.encoder.channels[-1], dtype=parameter.dtype)

    def make_empty_rows(self, classes: int) -> Rows:
        """Return the rows of no image."""
        features = self.make_empty_features()
        nowhere = torch.empty(0, 2, dtype=torch.float64)
        return Rows(torch.empty(0, dtype=torch.int64), nowhere, features.new_empty(0, classes), features)

    def prepare_input(self, images: Tensor) -> Tensor:
        """Move uint8 images to the device and normalise them, in the configured memory format."""
        return to_input(self._model, self._config, images)


def to_input(model: Model, config: Config, images: Tensor) -> Tensor:
    """Move uint8 images to the device and normalise them, in the configured memory format."""
    moved = images.to(config.train.device, non_blocking=True)
    return lay_out(model.encoder.normalise(moved), config)


@torch.no_grad()
def encode(encoder: FoldedEncoder, config: Config, images: Tensor) -> Tensor:
    """Return a frozen encoder's last maps, (N, C, h, w), of (N, 3, H, W) uint8 images."""
    moved = images.to(config.train.device)
    maps: tuple[Tensor, ...] = encoder(lay_out(encoder.encoder.normalise(moved), config))
    return maps[-1]


def lay_out(images: Tensor, config: Config) -> Tensor:
    """Put (N, 3, H, W) images into the configured memory format."""
    return images.contiguous(memory_format=get_memory_format(config))


def get_memory_format(config: Config) -> torch.memory_format:
    """Return the configured memory format of images and convolutions."""
    return torch.channels_last if config.train.channels_last else torch.contiguous_format
