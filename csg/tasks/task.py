"""What a task decides: the head, how a model is measured on a stream, and the names of the figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from csg.config import Config
from csg.data.pair import TARGET_TEST, Pair, Stream
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.model import Model
from csg.tasks.measurement import Inference, Measurement, Mixtures, Rows


class Task(ABC):
    """Classification or segmentation. Methods, losses, the loop, searches and tracking do not know which."""

    name: ClassVar[str]
    score: ClassVar[str]
    """The figure that configurations are selected by, a metric's name below a stream's."""
    score_words: ClassVar[str]
    """Its name in tables."""
    overall: ClassVar[str]
    """The share of all labels that is answered correctly."""
    overall_words: ClassVar[str]
    one_label: ClassVar[bool]
    """Whether an image has one label, so that ``overall`` is a share of independent answers."""
    fewest_images: ClassVar[int]
    """In a batch."""
    by_class: ClassVar[str]
    """Each class's figure, whose mean is ``score``: a metric's name between a stream's and a class's."""

    @property
    def headline(self) -> str:
        """The figure that sums up a run on real images: the accuracy of images, but of segmentation the score.

        Most pixels belong to a few classes.
        """
        return self.overall if self.one_label else self.score

    @property
    def headline_words(self) -> str:
        """Its name in tables."""
        return self.overall_words if self.one_label else self.score_words

    @property
    def real_headline(self) -> str:
        """The metric ``headline`` of target/test."""
        return f"{TARGET_TEST}/{self.headline}"

    @property
    def real_score(self) -> str:
        """The metric ``score`` of target/test."""
        return f"{TARGET_TEST}/{self.score}"

    @property
    def real_overall(self) -> str:
        """The metric ``overall`` of target/test."""
        return f"{TARGET_TEST}/{self.overall}"

    @property
    def class_words(self) -> str:
        """The figure of a single class, in tables."""
        return self.score_words.removeprefix("mean ").removeprefix("class ")

    @abstractmethod
    def build_model(self, config: Config, encoder: Encoder, *, classes: int) -> Model:
        """Put a new head on ``encoder``."""

    @abstractmethod
    def measure(self, inference: Inference, config: Config, pair: Pair, stream: str) -> Measurement:
        """Answer for every image of a stream exactly once; those that cannot be read are counted, or end the run.

        In a process group each process takes its part of the images, and all return the whole.

        Raises:
            UserError: not a single image can be read.
            BadImageError: one cannot, and ``data.on_bad_image`` is error.
        """

    @abstractmethod
    def encode_rows(self, encoder: FoldedEncoder, config: Config, images: Stream, rows: Rows) -> Tensor:
        """Return a frozen encoder's features, (R, D), of the same images, or places of them, as ``rows``."""

    @abstractmethod
    def answer_mixtures(
        self, inference: Inference, config: Config, images: Stream, rows: Rows, *, seed: int
    ) -> Mixtures:
        """Mix a seeded choice of the images that ``rows`` are of, and answer; see :mod:`csg.metrics.mixval`."""

    @abstractmethod
    def predict(self, inference: Inference, config: Config, images: Tensor) -> Tensor:
        """Return the class of each of (N, 3, H, W) uint8 images, (N,), or of each of their pixels, (N, H, W)."""

    @abstractmethod
    def count_answers(self, measurement: Measurement, rows: Tensor) -> Tensor:
        """Return the (classes, classes) confusion counts of those of N images whose (N,) rows are True."""

    @abstractmethod
    def compute_class_figures(self, measurement: Measurement) -> list[float]:
        """Return each class's figure as a fraction; NaN for a class that does not occur."""

    @abstractmethod
    def compute_figures(self, measurement: Measurement) -> dict[str, float]:
        """Return the figures ``score`` and ``overall`` as fractions."""
