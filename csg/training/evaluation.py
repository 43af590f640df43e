"""Measure a model on a stream: counts and features first, figures from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from csg.collective import joined, part, summed
from csg.config import Config
from csg.data.loading import admit, in_order
from csg.data.pair import SOURCE_SHIFTED, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair
from csg.losses.attentional_pooling import average_pool
from csg.metrics.accuracy import accuracy, confusion_counts, mean_class_accuracy, per_class_accuracy
from csg.metrics.hyperspherical_energy import hyperspherical_energy
from csg.models.classifier import Classifier, Output
from csg.models.folding import FoldedEncoder
from csg.settings import ConfigError
from csg.training.step import IGNORED

TARGET_ALL = "target/all"
"""All real images together: what the paper's own protocol selects an epoch on."""
PROTOCOL_STREAMS = {"source": SOURCE_VAL, "shifted": SOURCE_SHIFTED, "oracle": TARGET_VAL, "paper": TARGET_ALL}
"""The one stream that each selection protocol may look at."""


def selection_score(metrics: Mapping[str, float], protocol: str) -> float:
    """Return the figure that ``protocol`` selects by: its own stream's mean class accuracy, and nothing else."""
    return metrics[f"{PROTOCOL_STREAMS[protocol]}/mean_class_accuracy"]


@dataclass(frozen=True)
class Measurement:
    """A model's answers on a stream."""

    confusion: Tensor
    """(classes, classes) counts; row = true class. Images whose label is IGNORED are not in it."""
    features: Tensor
    """(N, C): spatially averaged stage-4 maps of the unflipped images."""
    labels: Tensor
    """(N,) class indices."""
    predicted: Tensor
    """(N,) class indices."""
    skipped: int = 0
    """Images that could not be read, and are in none of these."""

    def __add__(self, other: Measurement) -> Measurement:
        return Measurement(
            self.confusion + other.confusion,
            torch.cat([self.features, other.features]),
            torch.cat([self.labels, other.labels]),
            torch.cat([self.predicted, other.predicted]),
            self.skipped + other.skipped,
        )


Classify = Callable[[Tensor], Output]
FlipAveraging = Literal["softmax", "sigmoid", "none"]


def for_inference(model: Classifier) -> Classify:
    """Return a frozen copy of a model in evaluation mode, its batch norms folded: same answers, half the time."""
    encoder, head = FoldedEncoder(model.encoder), model.head

    @torch.no_grad()
    def classify(images: Tensor) -> Output:
        maps = encoder(images)
        features = average_pool(maps[-1])
        return Output(logits=head(features), maps=maps, features=features)

    return classify


@torch.no_grad()
def measure(classify: Classify, model: Classifier, config: Config, pair: Pair, stream: str) -> Measurement:
    """Classify every image of a stream exactly once; those that cannot be read are counted, or end the run.

    In a process group each process takes its part of the batches, and all return the whole.

    Where the pair allows it and ``data.flip_averaging`` asks for it, the probabilities of an image and of its mirror
    image are averaged (softmax, or sigmoid of the logits as in the authors' code).
    """
    images = pair.streams[stream]
    averaging = config.data.flip_averaging if pair.flip_averaging else "none"
    batches = torch.split(torch.arange(len(images)), config.train.evaluation_batch_size)
    confusion = torch.zeros(len(pair.classes), len(pair.classes), dtype=torch.int64)
    features = [torch.empty(0, model.encoder.channels[-1], dtype=next(model.parameters()).dtype)]
    answers = [torch.empty(0, 2, dtype=torch.int64)]
    skipped = 0
    mine = range(len(batches))[part(len(batches))]
    for reading in in_order(lambda n: images.read(batches[n]), mine, workers=config.data.workers):
        skipped += admit(reading.bad, config.data)
        if len(reading.indices) == 0:
            continue
        batch = to_input(model, config, reading.views[0])
        scores, output = class_scores(classify, batch, averaging)
        labels = images.labels[reading.indices]
        predicted = scores.argmax(dim=1).cpu()
        labelled = labels != IGNORED
        confusion += confusion_counts(predicted[labelled], labels[labelled], len(pair.classes))
        features.append(output.features.cpu())
        answers.append(torch.stack([labels, predicted], dim=1))
    known, given = joined(torch.cat(answers)).unbind(dim=1)
    whole = Measurement(
        summed(confusion), joined(torch.cat(features)), known, given, int(summed(torch.tensor(skipped)))
    )
    if len(whole.features) == 0:
        raise ConfigError(f"data.on_bad_image: expected images in {stream}, found none that can be read")
    return whole


def class_scores(classify: Classify, batch: Tensor, averaging: FlipAveraging) -> tuple[Tensor, Output]:
    """Classify normalised (N, 3, H, W) images, and with ``averaging`` their mirror images too.

    Returns:
        (N, classes) scores, the largest of which is the predicted class: probabilities averaged over both images, or
        the logits where there is no averaging; and the output on the images as they are.
    """
    output = classify(batch)
    if averaging == "none":
        return output.logits, output
    squash = torch.sigmoid if averaging == "sigmoid" else _softmax
    return (squash(output.logits) + squash(classify(batch.flip(3)).logits)) / 2, output


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


def to_input(model: Classifier, config: Config, images: Tensor) -> Tensor:
    """Move uint8 images to the device and normalise them, in the configured memory format."""
    memory_format = torch.channels_last if config.train.channels_last else torch.contiguous_format
    moved = images.to(config.train.device, non_blocking=True)
    return model.encoder.normalise(moved).contiguous(memory_format=memory_format)


def accuracies(stream: str, measurement: Measurement) -> dict[str, float]:
    """Name the accuracies of a stream, as fractions; and how many images are not in them, where any."""
    named = {
        f"{stream}/mean_class_accuracy": mean_class_accuracy(measurement.confusion),
        f"{stream}/accuracy": accuracy(measurement.confusion),
    }
    return named | ({f"{stream}/skipped_images": float(measurement.skipped)} if measurement.skipped else {})


def energies(stream: str, measurement: Measurement, config: Config) -> dict[str, float]:
    """Name the hyperspherical energies of a stream's features; without them where features are not finite."""
    broken = int((~torch.isfinite(measurement.features)).any(dim=1).sum())
    if broken:
        return {f"{stream}/non_finite_features": float(broken)}
    energy = hyperspherical_energy(measurement.features, samples=config.train.energy_samples, seed=config.train.seed)
    return {
        f"{stream}/E0_mhe": energy.e0_mhe,
        f"{stream}/E0_literal": energy.e0_literal,
        f"{stream}/E1": energy.e1,
        f"{stream}/E2": energy.e2,
        f"{stream}/zero_vectors": float(energy.zero_vectors),
        f"{stream}/floored_pairs": float(energy.floored_pairs),
    }


def validation_metrics(model: Classifier, config: Config, pair: Pair) -> dict[str, float]:
    """Measure what every epoch reports: the validation streams. target/test is left alone.

    Only under the ``paper`` protocol, which selects an epoch on all real images, does it enter: as part of target/all.
    """
    classify = for_inference(model)
    metrics: dict[str, float] = {}
    for stream in (SOURCE_VAL, SOURCE_SHIFTED):
        metrics |= accuracies(stream, measure(classify, model, config, pair, stream))
    target = measure(classify, model, config, pair, TARGET_VAL)
    metrics |= accuracies(TARGET_VAL, target) | energies(TARGET_VAL, target, config)
    if config.selection.protocol == "paper":
        metrics |= accuracies(TARGET_ALL, target + measure(classify, model, config, pair, TARGET_TEST))
    return metrics


def final_measurement(model: Classifier, config: Config, pair: Pair) -> tuple[dict[str, float], Measurement]:
    """Measure target/test: once a run, on its selected weights. Return the metrics, and the answers behind them."""
    test = measure(for_inference(model), model, config, pair, TARGET_TEST)
    metrics = accuracies(TARGET_TEST, test) | energies(TARGET_TEST, test, config)
    metrics[f"{TARGET_TEST}/images"] = float(test.confusion.sum())
    for name, value in zip(pair.classes, per_class_accuracy(test.confusion), strict=True):
        metrics[f"{TARGET_TEST}/class_accuracy/{name}"] = value
    return metrics, test
