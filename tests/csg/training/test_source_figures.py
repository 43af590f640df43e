"""The score of each of several sources on source/val."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from csg.data.pair import SOURCE_VAL, ArrayStream, Pair
from csg.data.reading.joined import JoinedImages
from csg.tasks import find_task
from csg.tasks.measurement import Inference
from csg.training.source_figures import compute_source_figures
from tests.finished_run import finished_run
from tests.made_up_pair import labelled, made_up_pair


def with_two_sources(pair: Pair) -> Pair:
    """The pair with a second source, some of whose held-out images have wrong labels."""
    own, other = pair.streams[SOURCE_VAL], labelled(pair, "target/test")
    images = other.load_images(torch.arange(15))[:, 0]
    wrong = ArrayStream(images, torch.cat([other.labels[:9], other.labels[9:].roll(1)]))
    assert isinstance(own, ArrayStream)
    streams = {**pair.streams, SOURCE_VAL: JoinedImages([own, wrong]), "target/val": wrong}
    return dataclasses.replace(pair, streams=streams, sources=("right", "wrong"))


def test_each_source_has_the_score_that_it_would_have_alone(tmp_path: Path) -> None:
    pair = with_two_sources(made_up_pair())
    run = finished_run(tmp_path, pair)
    last = run.record.epochs[-1]
    name = "source/val/mean_class_accuracy"
    assert last[f"{name}/wrong"] == last["target/val/mean_class_accuracy"] < last[f"{name}/right"]
    # The classes of either have as many images.
    whole = (12 * last[f"{name}/right"] + 15 * last[f"{name}/wrong"]) / 27
    assert last["source/val/accuracy"] == pytest.approx(whole)


def test_one_source_has_no_score_of_its_own(tmp_path: Path) -> None:
    pair = made_up_pair()
    run = finished_run(tmp_path, pair)
    measured = find_task(run.config.data).measure(
        Inference(run.load_selected_model(), run.config), run.config, pair, SOURCE_VAL
    )
    assert torch.equal(measured.places, torch.arange(12))
    assert compute_source_figures(SOURCE_VAL, measured, run.config, pair) == {}
