"""The figure of each of several sources on a stream of synthetic images."""

from __future__ import annotations

import dataclasses

from csg.config import Config
from csg.data.pair import Pair
from csg.tasks import find_task
from csg.tasks.measurement import Measurement


def compute_source_figures(stream: str, measurement: Measurement, config: Config, pair: Pair) -> dict[str, float]:
    """Name the task's score of each source on a stream: ``source/val/mean_class_accuracy/NAME``, a fraction.

    Nothing of real images, and where all images of the stream are from one source.
    """
    if not stream.startswith("source/"):
        return {}
    sources = pair.streams[stream].sources[measurement.places]
    if len(set(sources.tolist())) < 2:
        return {}
    task, figures = find_task(config.data), {}
    for number, name in enumerate(pair.sources):
        counts = task.count_answers(measurement, sources == number)
        if counts.any():
            own = dataclasses.replace(measurement, confusion=counts)
            figures[f"{stream}/{task.score}/{name}"] = task.compute_figures(own)[task.score]
    return figures
