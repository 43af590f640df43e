"""What a run reports: figures of the validation streams every epoch, of target/test once."""

from __future__ import annotations

import torch

from csg.config import Config
from csg.data.held_out import HELD_OUT
from csg.data.pair import SOURCE_SHIFTED, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair
from csg.metrics.hyperspherical_energy import hyperspherical_energy
from csg.models.model import Model
from csg.tasks import find_task
from csg.tasks.measurement import Inference, Measurement
from csg.training.selection import TARGET_ALL
from csg.training.source_figures import compute_source_figures
from csg.training.unlabelled import UnlabelledScores


def compute_figures(stream: str, measurement: Measurement, config: Config) -> dict[str, float]:
    """Name the task's figures of a stream, as fractions; and how many images are not in them, where any.

    Without labels there are no figures.
    """
    figures = find_task(config.data).compute_figures(measurement) if measurement.has_labels else {}
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


def measure_validation(model: Model, config: Config, pair: Pair, unlabelled: UnlabelledScores) -> dict[str, float]:
    """Measure what every epoch reports: the validation streams. target/test is left alone.

    Only under the ``paper`` protocol, which selects an epoch on all real images, does it enter: as part of target/all.
    """
    inference, task = Inference(model, config), find_task(config.data)
    streams = [stream for stream in (SOURCE_VAL, SOURCE_SHIFTED, HELD_OUT) if stream in pair.streams]
    measured = {stream: task.measure(inference, config, pair, stream) for stream in streams}
    metrics: dict[str, float] = {}
    for stream, each in measured.items():
        metrics |= compute_figures(stream, each, config) | compute_source_figures(stream, each, config, pair)
    if TARGET_VAL not in pair.streams:
        return metrics
    target = task.measure(inference, config, pair, TARGET_VAL)
    metrics |= compute_figures(TARGET_VAL, target, config) | compute_energies(TARGET_VAL, target, config)
    metrics |= unlabelled.measure(inference, target.rows, measured[SOURCE_VAL])
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
    for name, value in zip(pair.classes, task.compute_class_figures(test), strict=True):
        metrics[f"{TARGET_TEST}/{task.by_class}/{name}"] = value
    return metrics, test
