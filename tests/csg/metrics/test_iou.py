"""Intersection over union is the benchmark's own, to the last digits."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as benchmark  # noqa: N813
from cityscapesscripts.helpers.labels import labels as published_labels
from cityscapesscripts.helpers.labels import trainId2label
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from csg.metrics.accuracy import accuracy
from csg.metrics.iou import iou_per_class, mean_iou, pixel_counts

CLASSES = 19
VOID = -100
VOID_IDS = [label.id for label in published_labels if label.id >= 0 and label.ignoreInEval]
NAMES = [trainId2label[number].name for number in range(CLASSES)]
LABEL_IDS = np.array([trainId2label[number].id for number in range(CLASSES)], dtype=np.uint8)


def test_a_confusion_written_by_hand() -> None:
    labels = torch.tensor([[0, 0, 0, 1], [1, VOID, VOID, 0]])
    predicted = torch.tensor([[0, 0, 1, 1], [2, 0, 2, 0]])
    confusion = pixel_counts(predicted, labels, 4, ignored=VOID)
    assert confusion.tolist() == [[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    found = iou_per_class(confusion)
    assert found[:3] == [3 / 4, 1 / 3, 0.0] and math.isnan(found[3])
    assert mean_iou(confusion) == pytest.approx((3 / 4 + 1 / 3) / 3)
    assert accuracy(confusion) == 4 / 6


def test_without_a_counted_pixel_nothing_is_claimed() -> None:
    confusion = pixel_counts(torch.zeros(4, dtype=torch.int64), torch.full((4,), VOID), 3, ignored=VOID)
    assert confusion.sum() == 0
    assert all(math.isnan(value) for value in [*iou_per_class(confusion), mean_iou(confusion), accuracy(confusion)])


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([VOID, 0, 1, 2, 3])), min_size=2, max_size=40), st.data())
def test_pixels_of_several_images_add_up(pixels: list[tuple[int, int]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(pixels) - 1))
    predicted, labels = torch.tensor(pixels).T
    parts = [pixel_counts(predicted[s], labels[s], 4, ignored=VOID) for s in (slice(cut), slice(cut, None))]
    assert torch.equal(
        sum(parts, torch.zeros(4, 4, dtype=torch.int64)), pixel_counts(predicted, labels, 4, ignored=VOID)
    )


def drawn_maps(
    rng: np.random.Generator, true_classes: range, predicted_classes: range
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a truth in train ids, a fifth of it void, and a prediction that is right in about two pixels of three."""
    truth = rng.choice(list(true_classes), size=(23, 31)).astype(np.int64)
    guess = rng.choice(list(predicted_classes), size=truth.shape)
    right = (rng.random(truth.shape) < 2 / 3) & np.isin(truth, list(predicted_classes))
    predicted = np.where(right, truth, guess)
    truth[rng.random(truth.shape) < 0.2] = VOID
    return truth, predicted


def published(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Write a truth in label ids, its void pixels as any of the ids that no evaluation counts."""
    return np.where(truth == VOID, rng.choice(VOID_IDS, size=truth.shape), LABEL_IDS[truth.clip(0)]).astype(np.uint8)


@pytest.mark.parametrize(
    ("true_classes", "predicted_classes"),
    [(range(19), range(19)), (range(17), range(19)), (range(19), range(12)), (range(9), range(4, 14))],
    ids=["all", "some absent from truth", "some never predicted", "some in neither"],
)
def test_it_is_what_the_benchmarks_own_scripts_compute(
    true_classes: range, predicted_classes: range, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for city, frame in (("aachen", 19), ("aachen", 20), ("bochum", 7)):
        truth, predicted = drawn_maps(rng, true_classes, predicted_classes)
        confusion += pixel_counts(torch.from_numpy(predicted), torch.from_numpy(truth), CLASSES, ignored=VOID)
        name = f"{city}_000000_{frame:06d}"
        for path, image in (
            (tmp_path / "gtFine" / "val" / city / f"{name}_gtFine_labelIds.png", published(truth, rng)),
            (tmp_path / "results" / f"{name}_leftImg8bit.png", LABEL_IDS[predicted]),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    args = copy.copy(benchmark.args)
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    args.predictionPath, args.predictionWalk = str(tmp_path / "results"), None
    truths = sorted(str(path) for path in tmp_path.glob("gtFine/val/*/*_gtFine_labelIds.png"))
    assert len(truths) == 3
    theirs = benchmark.evaluateImgLists([benchmark.getPrediction(args, truth) for truth in truths], truths, args)
    ours = dict(zip(NAMES, iou_per_class(confusion), strict=True))
    absent = set(range(19)) - {*true_classes, *predicted_classes}
    assert {name for name, value in ours.items() if math.isnan(value)} == {NAMES[number] for number in absent}
    for name, value in ours.items():
        assert value == pytest.approx(theirs["classScores"][name], abs=1e-9, nan_ok=True), name
    assert mean_iou(confusion) == pytest.approx(theirs["averageScoreClasses"], abs=1e-9)
