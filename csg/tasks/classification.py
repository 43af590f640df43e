"""One class an image: global average pooling, mean class accuracy (VisDA-17's metric)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final, Literal

import torch
from torch import Tensor

from csg.collective import gather_rows
from csg.config import Config
from csg.data.pair import IGNORED, Pair, Stream
from csg.losses.attentional_pooling import average_pool
from csg.messages.errors import BadDataError
from csg.metrics.accuracy import accuracy, confusion_counts, mean_class_accuracy, per_class_accuracy
from csg.metrics.mixval import choose_partners_by_class, mix_images
from csg.metrics.rows import predict_classes
from csg.metrics.subset import choose_images
from csg.models.classifier import Classifier
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.model import Output
from csg.tasks.measurement import (
    Inference,
    Measurement,
    Mixtures,
    Rows,
    count_skipped,
    encode,
    read_batches,
    read_whole_batch,
)
from csg.tasks.task import Task

FlipAveraging = Literal["softmax", "sigmoid", "none"]
MIXED: Final = 64
"""Images that are mixed with each other: each costs a forward pass an epoch."""


class Classification(Task):
    """VisDA-17's task."""

    name: ClassVar[str] = "classification"
    score: ClassVar[str] = "mean_class_accuracy"
    score_words: ClassVar[str] = "mean class accuracy"
    overall: ClassVar[str] = "accuracy"
    overall_words: ClassVar[str] = "accuracy"
    one_label: ClassVar[bool] = True
    fewest_images: ClassVar[int] = 1
    by_class: ClassVar[str] = "class_accuracy"

    def build_model(self, config: Config, encoder: Encoder, *, classes: int) -> Classifier:
        """See :class:`~csg.tasks.task.Task`."""
        return Classifier(
            encoder,
            classes=classes,
            head_width=config.model.head_width,
            frozen_statistics=config.model.frozen_statistics,
            frozen_norms=config.model.frozen_norms,
        )

    def measure(self, inference: Inference, config: Config, pair: Pair, stream: str) -> Measurement:
        """See :class:`~csg.tasks.task.Task`.

        Where the pair allows it and ``data.flip_averaging`` asks for it, the probabilities of an image and of its
        mirror image are averaged (softmax, or sigmoid of the logits as in the authors' code). Answers: ``labels`` and
        ``predicted``, (N,) class indices.
        """
        images = pair.streams[stream]
        averaging = config.data.flip_averaging if pair.flip_averaging else "none"
        rows = [inference.make_empty_rows(len(pair.classes))]
        answers = [torch.empty(0, 2, dtype=torch.int64)]
        for reading in read_batches(images, config, batch=config.train.evaluation_batch_size):
            scores, output = compute_class_scores(inference, inference.prepare_input(reading.views[0]), averaging)
            middle = torch.full((len(reading.indices), 2), 0.5, dtype=torch.float64)
            rows.append(Rows(reading.indices, middle, output.logits.cpu(), output.features.cpu()))
            answers.append(torch.stack([reading.labels, scores.argmax(dim=1).cpu()], dim=1))
        labels, predicted = gather_rows(torch.cat(answers)).unbind(dim=1)
        left_out = count_skipped(images, len(labels), stream)
        if images.has_labels and not (labels != IGNORED).any():
            raise BadDataError(f"{stream}: expected images with a label, found none that can be read")
        joined = Rows.join(rows).gather()
        return Measurement(
            _count(labels, predicted, len(pair.classes)),
            joined.features,
            {"labels": labels, "predicted": predicted},
            joined.images,
            joined,
            labels,
            left_out,
        )

    def encode_rows(self, encoder: FoldedEncoder, config: Config, images: Stream, rows: Rows) -> Tensor:
        """See :class:`~csg.tasks.task.Task`: the spatially averaged maps of the last stage."""
        batches = torch.split(rows.images, config.train.evaluation_batch_size)
        read = (read_whole_batch(images, batch) for batch in batches)
        return torch.cat([average_pool(encode(encoder, config, views)).cpu() for views in read])

    def answer_mixtures(
        self, inference: Inference, config: Config, images: Stream, rows: Rows, *, seed: int
    ) -> Mixtures:
        """See :class:`~csg.tasks.task.Task`: each of at most MIXED images with another one of them."""
        first = rows.choose(choose_images(len(rows.images), limit=MIXED, seed=seed))
        partners = choose_partners_by_class(predict_classes(first.logits), seed=seed)
        inputs = inference.prepare_input(read_whole_batch(images, first.images))
        mixed = torch.split(mix_images(inputs, inputs[partners]), config.train.evaluation_batch_size)
        return Mixtures(first, first.logits[partners], torch.cat([inference(batch).logits.cpu() for batch in mixed]))

    def predict(self, inference: Inference, config: Config, images: Tensor) -> Tensor:
        """See :class:`~csg.tasks.task.Task`; of the images as they are, not mirrored."""
        return inference(inference.prepare_input(images)).logits.argmax(dim=1).cpu()

    def count_answers(self, measurement: Measurement, rows: Tensor) -> Tensor:
        """See :class:`~csg.tasks.task.Task`."""
        labels, predicted = (measurement.answers[name][rows] for name in ("labels", "predicted"))
        return _count(labels, predicted, len(measurement.confusion))

    def compute_class_figures(self, measurement: Measurement) -> list[float]:
        """Return each class's accuracy."""
        return per_class_accuracy(measurement.confusion)

    def compute_figures(self, measurement: Measurement) -> dict[str, float]:
        """Return mean class accuracy and accuracy."""
        confusion = measurement.confusion
        return {self.score: mean_class_accuracy(confusion), self.overall: accuracy(confusion)}


def compute_class_scores(inference: Inference, batch: Tensor, averaging: FlipAveraging) -> tuple[Tensor, Output]:
    """Classify normalised (N, 3, H, W) images, and with ``averaging`` their mirror images too.

    Returns:
        (N, classes) scores, the largest of which is the predicted class: probabilities averaged over both images, or
        the logits where there is no averaging; and the output on the images as they are.
    """
    output = inference(batch)
    if averaging == "none":
        return output.logits, output
    squash: Callable[[Tensor], Tensor] = torch.sigmoid if averaging == "sigmoid" else partial(torch.softmax, dim=1)
    return (squash(output.logits) + squash(inference(batch.flip(3)).logits)) / 2, output


def _count(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Count the answers on images that have a label, (classes, classes)."""
    labelled = labels != IGNORED
    return confusion_counts(predicted[labelled], labels[labelled], classes)
