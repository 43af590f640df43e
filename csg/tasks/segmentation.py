"""A class for each pixel: DeepLab, mean intersection over union (Cityscapes' metric) of windows at full resolution."""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from csg.collective import gather_rows
from csg.config import Config
from csg.data.pair import IGNORED, Pair, Stream
from csg.messages.errors import BadDataError
from csg.metrics.accuracy import accuracy
from csg.metrics.iou import iou_per_class, mean_iou, pixel_counts
from csg.metrics.mixval import choose_partners, mix_images
from csg.metrics.subset import choose_images
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.model import Output
from csg.models.segmenter import Segmenter
from csg.tasks.measurement import (
    Inference,
    Measurement,
    Mixtures,
    Rows,
    count_skipped,
    encode,
    lay_out,
    read_batches,
    read_whole_batch,
)
from csg.tasks.probe import choose_window, cut_window, find_cells, probe_window, read_points
from csg.tasks.task import Task
from csg.tasks.windows import average_windows, list_windows

MIXED: Final = 16
"""Images that are mixed with each other: each costs two forward passes an epoch."""


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

    def build_model(self, config: Config, encoder: Encoder, *, classes: int) -> Segmenter:
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
        rows, row_labels = [inference.make_empty_rows(classes)], [torch.empty(0, dtype=torch.int64)]
        places = [torch.empty(0, dtype=torch.int64)]
        for reading in read_batches(images, config, batch=1):  # images may differ in size
            image, labels, index = reading.views[0][0], reading.labels[0], int(reading.indices)
            predicted, feature, window = answer(inference, config, image, index)
            confusions.append(pixel_counts(predicted, labels, classes, ignored=IGNORED))
            features.append(feature)
            rows.append(probe_window(window, index, images=len(images)))
            seen = cut_window(labels[None], index, config.data)[0]
            row_labels.append(seen[find_cells(rows[-1].points, seen).unbind(dim=1)])
            places.append(reading.indices)
        own = torch.stack(confusions) if confusions else torch.zeros(0, classes, classes, dtype=torch.int64)
        each = gather_rows(own)
        left_out = count_skipped(images, len(each), stream)
        if images.has_labels and not each.any():
            raise BadDataError(f"{stream}: expected pixels of some class, found none but void; hold out more images")
        stacked = torch.stack(features) if features else inference.make_empty_features()
        return Measurement(
            each.sum(dim=0),
            gather_rows(stacked),
            {"confusions": each},
            gather_rows(torch.cat(places)),
            Rows.join(rows).gather(),
            gather_rows(torch.cat(row_labels)),
            left_out,
        )

    def encode_rows(self, encoder: FoldedEncoder, config: Config, images: Stream, rows: Rows) -> Tensor:
        """See :class:`~csg.tasks.task.Task`: the last maps of the images' windows, where the rows are."""
        features = []
        for number in sorted(set(rows.images.tolist())):
            maps = encode(encoder, config, _read_window(images, number, config)[None])[0]
            cells = find_cells(rows.points[rows.images == number], maps)
            features.append(maps[:, cells[:, 0], cells[:, 1]].T.cpu())
        return torch.cat(features)

    def answer_mixtures(
        self, inference: Inference, config: Config, images: Stream, rows: Rows, *, seed: int
    ) -> Mixtures:
        """See :class:`~csg.tasks.task.Task`: windows of at most MIXED images, a row a place.

        The partner's window is scaled to the size of the first one where they differ.
        """
        numbers = torch.tensor(sorted(set(rows.images.tolist())))
        numbers = numbers[choose_images(len(numbers), limit=MIXED, seed=seed)]
        firsts, partner_logits, mixed_logits = [], [], []
        for number, partner in zip(numbers, numbers[choose_partners(len(numbers), seed=seed)], strict=True):
            first = rows.choose(rows.images == number)
            window, other = (
                inference.prepare_input(_read_window(images, int(n), config)[None]) for n in (number, partner)
            )
            other = F.interpolate(other, window.shape[-2:], mode="bilinear", align_corners=False)
            answered = [inference(lay_out(each, config)) for each in (other, mix_images(window, other))]
            read = [read_points(each.logits, each.maps[-1], first.points)[0].cpu() for each in answered]
            firsts.append(first)
            partner_logits.append(read[0])
            mixed_logits.append(read[1])
        return Mixtures(Rows.join(firsts), torch.cat(partner_logits), torch.cat(mixed_logits))

    def predict(self, inference: Inference, config: Config, images: Tensor) -> Tensor:
        """See :class:`~csg.tasks.task.Task`."""
        return torch.stack([answer(inference, config, image, 0)[0] for image in images])

    def count_answers(self, measurement: Measurement, rows: Tensor) -> Tensor:
        """See :class:`~csg.tasks.task.Task`."""
        return measurement.answers["confusions"][rows].sum(dim=0)

    def compute_class_figures(self, measurement: Measurement) -> list[float]:
        """Return each class's intersection over union."""
        return iou_per_class(measurement.confusion)

    def compute_figures(self, measurement: Measurement) -> dict[str, float]:
        """Return mean intersection over union and the accuracy of pixels."""
        confusion = measurement.confusion
        return {self.score: mean_iou(confusion), self.overall: accuracy(confusion)}


def answer(inference: Inference, config: Config, image: Tensor, index: int) -> tuple[Tensor, Tensor, Output]:
    """Answer for one image by windows.

    Args:
        inference: the model.
        config: sizes of windows and of batches.
        image: (3, H, W) uint8.
        index: number of the image in its stream.

    Returns:
        (H, W) class indices and (C,) features, on the CPU; and the output on one window (:func:`choose_window`).
    """
    features: list[Tensor] = []
    probed: list[Output] = []
    side, stride = config.data.window_side, config.data.window_stride
    height, width = image.shape[-2:]
    chosen = choose_window(index, len(list_windows(height, width, window=side, stride=stride)))

    def score(windows: Tensor) -> Tensor:
        output = inference(lay_out(windows, config))
        place = chosen - sum(map(len, features))
        if 0 <= place < len(windows):
            one = slice(place, place + 1)
            probed.append(Output(output.logits[one], tuple(each[one] for each in output.maps), output.features[one]))
        features.append(output.features.cpu())
        return output.logits

    averaged = average_windows(
        score,
        inference.prepare_input(image.unsqueeze(0))[0],
        window=side,
        stride=stride,
        batch=config.train.evaluation_batch_size,
    )
    return averaged.argmax(dim=0).cpu(), torch.cat(features).mean(dim=0), probed[0]


def _read_window(images: Stream, number: int, config: Config) -> Tensor:
    """Read the (3, h, w) window that validators look at of an image."""
    return cut_window(read_whole_batch(images, torch.tensor([number]))[0], number, config.data)
