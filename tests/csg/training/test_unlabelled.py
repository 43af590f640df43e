"""A run whose real images have no labels: what is measured, what is kept, and that it resumes as any other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from csg.data.pair import IGNORED, TARGET_TEST, TARGET_VAL, ArrayStream, Pair
from csg.data.reading.joined import JoinedImages
from csg.tasks import find_task
from csg.tasks.measurement import Inference
from csg.training.checkpoint import load_state
from tests.finished_run import finished_run, new_run
from tests.made_up_pair import labelled, made_up_pair


def without_labels(images: ArrayStream) -> ArrayStream:
    return ArrayStream(images.load_images(torch.arange(len(images)))[:, 0], torch.full((len(images),), IGNORED))


def unlabelled_pair() -> Pair:
    """The made-up pair, its target/val without labels and without target/test."""
    pair = made_up_pair()
    streams = {name: stream for name, stream in pair.streams.items() if name != TARGET_TEST}
    target = labelled(pair, TARGET_VAL)
    assert isinstance(target, ArrayStream)
    return dataclasses.replace(pair, streams={**streams, TARGET_VAL: without_labels(target)})


def pair_without_target() -> Pair:
    pair = made_up_pair()
    return dataclasses.replace(pair, streams={n: s for n, s in pair.streams.items() if not n.startswith("target/")})


def test_photographs_are_measured_without_accuracy(tmp_path: Path) -> None:
    run = finished_run(tmp_path, unlabelled_pair())
    last = run.record.epochs[-1]
    assert "target/val/E0_mhe" in last and "source/val/mean_class_accuracy" in last
    assert not [name for name in last if name.startswith("target/") and "accuracy" in name]
    assert not [name for name in run.record.final if name.startswith(TARGET_TEST)]
    assert run.record.final["selected/source/val/mean_class_accuracy"] == last["source/val/mean_class_accuracy"]
    assert run.record.status == "finished" and run.selected.exists() and run.is_measured
    assert not run.outputs.exists() and not run.pictures.exists()
    measured = find_task(run.config.data).measure(
        Inference(run.load_selected_model(), run.config), run.config, run.pair, TARGET_VAL
    )
    assert len(measured.features) == 9 and not measured.has_labels


def test_a_run_without_real_images_is_trained_and_finished(tmp_path: Path) -> None:
    run = finished_run(tmp_path, pair_without_target())
    assert run.record.status == "finished"
    assert not [name for name in {**run.record.epochs[-1], **run.record.final} if "target" in name]


def test_photographs_change_neither_the_weights_nor_the_labelled_figures(tmp_path: Path) -> None:
    pair = made_up_pair()
    target = labelled(pair, TARGET_VAL)
    assert isinstance(target, ArrayStream)
    mixed = JoinedImages([target, without_labels(target)])
    runs = [
        finished_run(tmp_path / name, dataclasses.replace(pair, streams={**pair.streams, TARGET_VAL: stream}))
        for name, stream in (("alone", target), ("mixed", mixed))
    ]
    alone, joined = (run.record.epochs[-1] for run in runs)
    name = "target/val/mean_class_accuracy"
    assert joined[name] == alone[name]
    weights = [load_state(run.selected)["model"] for run in runs]
    assert all(torch.equal(weights[0][each], weights[1][each]) for each in weights[0])


@pytest.mark.parametrize("pair", [unlabelled_pair(), pair_without_target()], ids=["photographs", "no target"])
def test_a_run_that_is_left_off_and_resumed_ends_the_same(tmp_path: Path, pair: Pair) -> None:
    whole = finished_run(tmp_path / "whole", pair)
    cut = new_run(tmp_path / "cut", pair, train__checkpoint_minutes=0.0)
    epochs = cut.train()
    next(epochs)
    epochs.close()
    resumed = finished_run(tmp_path / "cut", pair, train__checkpoint_minutes=0.0)
    weights = [load_state(run.selected)["model"] for run in (whole, resumed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    kept = [{n: v for n, v in run.record.final.items() if "seconds" not in n} for run in (whole, resumed)]
    assert kept[0] == kept[1]
