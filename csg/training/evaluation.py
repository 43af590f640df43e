"""What a run reports: figures of the validation streams every epoch, of target/test once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

import torch

from csg.config import Config
from csg.data.pair import SOURCE_SHIFTED, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair
from csg.metrics.hyperspherical_energy import hyperspherical_energy
from csg.models.model import Model
from csg.tasks import find_task
from csg.tasks.measurement import Inference, Measurement
from csg.training.source_figures import compute_source_figures

SELECTION_SCORE: Final = "selection/score"
"""The selection score of a finished run, taken on the weights that target/test was measured with."""
Protocol = Literal["source", "shifted", "oracle"]
PROTOCOLS: Final[tuple[str, ...]] = get_args(Protocol)
"""The protocols by which configurations may be chosen; ``paper`` would show a search the images that are reported."""
TARGET_ALL = "target/all"
"""All real images together: what the paper's own protocol selects an epoch on."""
PROTOCOL_STREAMS = {"source": SOURCE_VAL, "shifted": SOURCE_SHIFTED, "oracle": TARGET_VAL, "paper": TARGET_ALL}
"""The one stream that each selection protocol may look at."""


def score_metric(config: Config) -> str:
    """Return the metric that configurations or epochs are selected by: the score of the protocol's own stream."""
    return f"{PROTOCOL_STREAMS[config.selection.protocol]}/{find_task(config.data).score}"


def selection_score(metrics: Mapping[str, float], config: Config) -> float:
    """Return an epoch's figure under :func:`score_metric`."""
    return metrics[score_metric(config)]


def compute_figures(stream: str, measurement: Measurement, config: Config) -> dict[str, float]:
    """Name the task's figures of a stream, as fractions; and how many images are not in them, where any.

    Without labels there are no figures.
    """
    figures = find_task(config.data).figures(measurement) if measurement.has_labels else {}
    named = {f"{stream}/{name}": value for name, value in figures.items()}
    return named | ({f"{stream}/skipped_images": float(measurement.skipped)} if measurement.skipped else {})


def compute_energies(stream: str, measurement: Measurement, config: Config) -> dict[str, float]:
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


def measure_validation(model: Model, config: Config, pair: Pair) -> dict[str, float]:
    """Measure what every epoch reports: the validation streams. target/test is left alone.

    Only under the ``paper`` protocol, which selects an epoch on all real images, does it enter: as part of target/all.
    """
    inference, task = Inference(model, config), find_task(config.data)
    metrics: dict[str, float] = {}
    for stream in (SOURCE_VAL, SOURCE_SHIFTED):
        measured = task.measure(inference, config, pair, stream)
        metrics |= compute_figures(stream, measured, config) | compute_source_figures(stream, measured, config, pair)
    if TARGET_VAL not in pair.streams:
        return metrics
    target = task.measure(inference, config, pair, TARGET_VAL)
    metrics |= compute_figures(TARGET_VAL, target, config) | compute_energies(TARGET_VAL, target, config)
    if config.selection.protocol == "paper":
        whole = target + task.measure(inference, config, pair, TARGET_TEST)
        metrics |= compute_figures(TARGET_ALL, whole, config)
    return metrics


def measure_test(inference: Inference, config: Config, pair: Pair) -> tuple[dict[str, float], Measurement]:
    """Measure target/test: once a run, on its selected weights. Return the metrics, and the answers behind them."""
    task = find_task(config.data)
    test = task.measure(inference, config, pair, TARGET_TEST)
    metrics = compute_figures(TARGET_TEST, test, config) | compute_energies(TARGET_TEST, test, config)
    metrics[f"{TARGET_TEST}/images"] = float(len(test.features))
    for name, value in zip(pair.classes, task.class_figures(test), strict=True):
        metrics[f"{TARGET_TEST}/{task.by_class}/{name}"] = value
    return metrics, test


def score_after(epochs: Sequence[Mapping[str, float]], config: Config) -> float:
    """Return the selection score of the weights that would be measured after ``epochs``."""
    scores = [selection_score(metrics, config) for metrics in epochs]
    return max(scores) if config.selection.epoch == "best" else scores[-1]


def selects_newest(epochs: Sequence[Mapping[str, float]], config: Config) -> bool:
    """Whether the newest of ``epochs`` has, so far, the weights to measure on target/test."""
    if config.selection.epoch == "last":
        return len(epochs) == config.train.epochs
    return len(epochs) == 1 or score_after(epochs, config) > score_after(epochs[:-1], config)


def describe_selected(epochs: Sequence[Mapping[str, float]], config: Config) -> dict[str, float]:
    """Return which of all epochs was selected, and what the validation streams showed of its weights."""
    task = find_task(config.data)
    scores = [selection_score(metrics, config) for metrics in epochs]
    number = scores.index(max(scores)) + 1 if config.selection.epoch == "best" else len(scores)
    shown = {
        f"selected/{name}": value
        for name, value in epochs[number - 1].items()
        if name.rpartition("/")[2] in (task.score, task.overall)
    }
    return {"selected/epoch": float(number), **shown}
