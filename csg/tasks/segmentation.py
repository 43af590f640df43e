"""A class for each pixel: DeepLab, mean intersection over union (Cityscapes' metric) of windows at full resolution."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from csg.collective import gather_rows
from csg.config import Config
from csg.data.pair import IGNORED, Pair
from csg.messages.errors import BadDataError
from csg.metrics.iou import iou_per_class, mean_iou, pixel_accuracy, pixel_counts
from csg.models.encoder import Encoder
from csg.models.segmenter import Segmenter
from csg.tasks.measurement import Inference, Measurement, count_skipped, read_batches
from csg.tasks.task import Task
from csg.tasks.windows import windowed_probabilities


class Segmentation(Task):
    """The task of GTA5 -> Cityscapes."""

    name: ClassVar[str] = "segmentation"
    score: ClassVar[str] = "mean_iou"
    score_words: ClassVar[str] = "mean IoU"
    overall: ClassVar[str] = "pixel_accuracy"
    overall_words: ClassVar[str] = "pixel accuracy"
    one_label: ClassVar[bool] = False
    fewest_images: ClassVar[int] = 2
    by_class: ClassVar[str] = "class_iou"

    def model(self, config: Config, encoder: Encoder, *, classes: int) -> Segmenter:
        """See :class:`~csg.tasks.task.Task`."""
        first, second, third = (int(rate) for rate in config.model.aspp_rates.split("+"))
        return Segmenter(
            encoder,
            classes=classes,
            head_width=config.model.head_width,
            rates=(first, second, third),
            frozen_statistics=config.model.frozen_statistics,
            frozen_norms=config.model.frozen_norms,
        )

    def measure(self, inference: Inference, config: Config, pair: Pair, stream: str) -> Measurement:
        """See :class:`~csg.tasks.task.Task`.

        An image is answered for by windows, whose probabilities are averaged where they overlap. Its features are the
        mean of its windows'. Answers: ``confusions`` (N, classes, classes), an image's own counts.
        """
        images = pair.streams[stream]
        classes = len(pair.classes)
        confusions: list[Tensor] = []
        features: list[Tensor] = []
        places = [torch.empty(0, dtype=torch.int64)]
        for reading in read_batches(images, config, batch=1):  # images may differ in size
            predicted, feature = answer(inference, config, reading.views[0][0])
            confusions.append(pixel_counts(predicted, reading.labels[0], classes, ignored=IGNORED))
            features.append(feature)
            places.append(reading.indices)
        own = torch.stack(confusions) if confusions else torch.zeros(0, classes, classes, dtype=torch.int64)
        each = gather_rows(own)
        left_out = count_skipped(images, len(each), stream)
        if images.has_labels and not each.any():
            raise BadDataError(f"{stream}: expected pixels of some class, found none but void; hold out more images")
        stacked = torch.stack(features) if features else inference.no_features()
        answers = {"confusions": each}
        return Measurement(each.sum(dim=0), gather_rows(stacked), answers, gather_rows(torch.cat(places)), left_out)

    def predict(self, inference: Inference, config: Config, images: Tensor) -> Tensor:
        """See :class:`~csg.tasks.task.Task`."""
        return torch.stack([answer(inference, config, image)[0] for image in images])

    def count_answers(self, measurement: Measurement, rows: Tensor) -> Tensor:
        """See :class:`~csg.tasks.task.Task`."""
        return measurement.answers["confusions"][rows].sum(dim=0)

    def class_figures(self, measurement: Measurement) -> list[float]:
        """Return each class's intersection over union."""
        return iou_per_class(measurement.confusion)

    def figures(self, measurement: Measurement) -> dict[str, float]:
        """Return mean intersection over union and the accuracy of pixels."""
        confusion = measurement.confusion
        return {self.score: mean_iou(confusion), self.overall: pixel_accuracy(confusion)}


def answer(inference: Inference, config: Config, image: Tensor) -> tuple[Tensor, Tensor]:
    """Answer for one image by windows.

    Args:
        inference: the model.
        config: sizes of windows and of batches.
        image: (3, H, W) uint8.

    Returns:
        (H, W) class indices and (C,) features, on the CPU.
    """
    features: list[Tensor] = []

    def scores(windows: Tensor) -> Tensor:
        output = inference(inference.lay_out(windows))
        features.append(output.features.cpu())
        return output.logits

    averaged = windowed_probabilities(
        scores,
        inference.input(image.unsqueeze(0))[0],
        window=config.data.window_side,
        stride=config.data.window_stride,
        batch=config.train.evaluation_batch_size,
    )
    return averaged.argmax(dim=0).cpu(), torch.cat(features).mean(dim=0)
