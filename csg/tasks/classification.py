"""One class an image: global average pooling, mean class accuracy (VisDA-17's metric)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from csg.collective import gather_rows
from csg.config import Config
from csg.data.pair import IGNORED, Pair
from csg.metrics.accuracy import accuracy, confusion_counts, mean_class_accuracy, per_class_accuracy
from csg.models.classifier import Classifier
from csg.models.encoder import Encoder
from csg.models.model import Output
from csg.tasks.measurement import Inference, Measurement, count_skipped, read_batches
from csg.tasks.task import Task

FlipAveraging = Literal["softmax", "sigmoid", "none"]


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

    def model(self, config: Config, encoder: Encoder, *, classes: int) -> Classifier:
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
        features: list[Tensor] = []
        answers = [torch.empty(0, 3, dtype=torch.int64)]
        for reading in read_batches(images, config, batch=config.train.evaluation_batch_size):
            scores, output = class_scores(inference, inference.input(reading.views[0]), averaging)
            features.append(output.features.cpu())
            answers.append(torch.stack([reading.labels, scores.argmax(dim=1).cpu(), reading.indices], dim=1))
        labels, predicted, places = gather_rows(torch.cat(answers)).unbind(dim=1)
        left_out = count_skipped(images, len(labels), stream)
        return Measurement(
            _count(labels, predicted, len(pair.classes)),
            gather_rows(torch.cat([inference.no_features(), *features])),
            {"labels": labels, "predicted": predicted},
            places,
            left_out,
        )

    def predict(self, inference: Inference, config: Config, images: Tensor) -> Tensor:
        """See :class:`~csg.tasks.task.Task`; of the images as they are, not mirrored."""
        return inference(inference.input(images)).logits.argmax(dim=1).cpu()

    def count_answers(self, measurement: Measurement, rows: Tensor) -> Tensor:
        """See :class:`~csg.tasks.task.Task`."""
        labels, predicted = (measurement.answers[name][rows] for name in ("labels", "predicted"))
        return _count(labels, predicted, len(measurement.confusion))

    def class_figures(self, measurement: Measurement) -> list[float]:
        """Return each class's accuracy."""
        return per_class_accuracy(measurement.confusion)

    def figures(self, measurement: Measurement) -> dict[str, float]:
        """Return mean class accuracy and accuracy."""
        confusion = measurement.confusion
        return {self.score: mean_class_accuracy(confusion), self.overall: accuracy(confusion)}


def class_scores(inference: Inference, batch: Tensor, averaging: FlipAveraging) -> tuple[Tensor, Output]:
    """Classify normalised (N, 3, H, W) images, and with ``averaging`` their mirror images too.

    Returns:
        (N, classes) scores, the largest of which is the predicted class: probabilities averaged over both images, or
        the logits where there is no averaging; and the output on the images as they are.
    """
    output = inference(batch)
    if averaging == "none":
        return output.logits, output
    squash = torch.sigmoid if averaging == "sigmoid" else _softmax
    return (squash(output.logits) + squash(inference(batch.flip(3)).logits)) / 2, output


def _count(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Count the answers on images that have a label, (classes, classes)."""
    labelled = labels != IGNORED
    return confusion_counts(predicted[labelled], labels[labelled], classes)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)
